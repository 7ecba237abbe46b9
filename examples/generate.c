/* generate.c - a whole program on libstile: answers one question.
 *
 *     cc generate.c $(pkg-config --cflags --libs stile) -o generate
 *     ./generate smollm2 'Why is the sky blue?'
 */
#include <stile.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int print(void *user, const char *text, size_t n_bytes)
{
    (void)user;
    fwrite(text, 1, n_bytes, stdout);
    return fflush(stdout); /* non-zero, for example because nobody reads any more, ends the reply */
}

int main(int argc, char **argv)
{
    struct stile_model *model = NULL;
    struct stile_session *session = NULL;
    struct stile_sampler *sampler = NULL;
    struct stile_error error = {0};
    struct stile_generation result;
    struct stile_sampler_options sampling = stile_sampler_defaults();
    struct stile_generate_options options = {.n_tokens_max = 100, .on_text = print};
    int32_t *tokens = NULL;
    size_t n_tokens;
    char request[4096];

    if (argc != 3 || strpbrk(argv[2], "\"\\\n")) {
        fprintf(stderr, "usage: %s MODEL QUESTION (one line without quotes or backslashes)\n", argv[0]);
        return 2;
    }
    sampling.temperature = 0;
    snprintf(request, sizeof request,
             "{\"messages\": [{\"role\": \"user\", \"content\": \"%s\"}], \"add_generation_prompt\": true}", argv[2]);
    int failed = stile_model_open(&model, argv[1], &error) || stile_session_create(&session, model, NULL, &error) ||
                 stile_sampler_create(&sampler, &sampling, &error) ||
                 stile_chat_tokenize(model, request, &tokens, &n_tokens, &error) ||
                 stile_generate(session, sampler, tokens, n_tokens, &options, &result, &error);
    if (failed)
        fprintf(stderr, "%s\n", error.message);
    else
        printf("\n%u tokens of prompt, %u of reply\n", result.n_prompt_tokens, result.n_tokens);

    stile_free(tokens);
    stile_sampler_free(sampler);
    stile_session_free(session);
    stile_model_close(model);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
