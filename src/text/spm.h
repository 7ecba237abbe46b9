/* spm.h - SentencePiece's byte-pair encoding: adjacent symbols join when a token is spelled like both together, the
 * highest score first. Source: docs/formats.md, SentencePiece.
 *
 * Any spelling may arise from text but those of control, unknown and byte tokens: text cannot forge these.
 */
#ifndef STILE_TEXT_SPM_H
#define STILE_TEXT_SPM_H

#include "text/bpe.h"

/* Appends the tokens of n bytes, after a space if asked for. A character in no token becomes its bytes' tokens, or the
 * unknown token where the vocabulary lacks those. */
int spm_encode(const struct vocab *vocab, const char *text, size_t n, bool adds_space, struct bpe_scratch *scratch,
               struct tokens *tokens, struct stile_error *error);

#endif
