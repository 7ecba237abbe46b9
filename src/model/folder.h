/* folder.h - a Hugging Face folder (config.json, safetensors, tokenizer.json) opened as what it would be as a GGUF file.
 *
 * The keys of a GGUF file are made from the JSON files, its tensor names from those of the weights, which stay where they
 * are, mapped. So all of the program that reads GGUF files reads folders; what differs is said by struct gguf: matrices
 * of experts that do not lie together (gguf_tensor_part), rows of q and k by halves (head_rows).
 * Made in memory are only vectors: norms that GGUF files hold differently (Gemma), and the frequencies of Llama 3.
 * Folders are hostile input. What cannot be run exactly as the folder means it is an error that says so.
 * Sources of names and meanings: docs/formats.md.
 */
#ifndef STILE_MODEL_FOLDER_H
#define STILE_MODEL_FOLDER_H

#include "file/gguf.h"

/* Is there a folder with a config.json? */
bool folder_is_model(const char *path);
int folder_open(struct gguf **gguf, const char *path, struct stile_error *error);

/* A folder or a file (or one of a set), whatever lies at `path`. */
int folder_or_file_open(struct gguf **gguf, const char *path, struct stile_error *error);

#endif
