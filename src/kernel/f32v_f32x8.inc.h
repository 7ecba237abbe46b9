/* f32v_f32x8.inc.h - f32v where a vector is best taken as eight lanes: another name for f32x8. What f32v is: f32v_avx512.h.
 *
 * Included after an f32x8_*.h.
 */
#define F32V_LANES 8

typedef f32x8 f32v;

#define f32v_set1        f32x8_set1
#define f32v_zero        f32x8_zero
#define f32v_load        f32x8_load
#define f32v_load_n      f32x8_load_n
#define f32v_load_f16    f32x8_load_f16
#define f32v_store       f32x8_store
#define f32v_store_n     f32x8_store_n
#define f32v_load_pairs  f32x8_load_pairs
#define f32v_store_pairs f32x8_store_pairs
#define f32v_add         f32x8_add
#define f32v_sub         f32x8_sub
#define f32v_mul         f32x8_mul
#define f32v_div         f32x8_div
#define f32v_fma         f32x8_fma
#define f32v_fnma        f32x8_fnma
#define f32v_max         f32x8_max
#define f32v_min         f32x8_min
#define f32v_abs         f32x8_abs
#define f32v_copysign    f32x8_copysign
#define f32v_exponent    f32x8_exponent
