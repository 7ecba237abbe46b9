/* hub.h - models by their name on a model hub: "org/repo", "org/repo:Q4_K_M", "org/repo:file.gguf".
 *
 * The hub's list of files is a stranger's JSON. What comes after the colon is a file's name, or the part of it that tells
 * it from the others: usually the number format, in any case. Projectors and importance matrices, which are GGUF files
 * too, are passed over unless they are named in full; shards count as one.
 */
#ifndef STILE_FILE_HUB_H
#define STILE_FILE_HUB_H

#include "file/remote.h"

#define HUB_HOME "https://huggingface.co"

/* Has it the form of such a name? Paths such as "models/x.gguf" have not. */
bool hub_is_name(const char *name);
/* The URL of the GGUF file that a name means (of a set: the first). `home` is the hub's URL. *url is allocated. Errors, as
 * those of remote.h, and ARGUMENT with the list of files where several or none match. */
int hub_find(struct remote *remote, const char *home, const char *name, char **url, struct stile_error *error);

/* The choice alone: *file (allocated) is the path in the repository. `json` is the hub's answer, `repo` and `selector` the
 * parts of the name; selector may be NULL. */
int hub_choose(const char *json, size_t n_bytes, const char *repo, const char *selector, char **file,
               struct stile_error *error);

#endif
