#include "cli/header.h"

#include "base/progress.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/output.h"

int header_open(struct stile_model **model, const char *name, const char *format)
{
    struct stile_error error;
    const struct stile_header_options header = {.format = format, .cancel = interrupt_flag()};
    interrupt_install();
    progress_start("reading the header", NULL, NULL);
    int failed = stile_model_open_header(model, name, &header, &error);
    progress_stop();
    return failed ? cli_error(&error) : EXIT_OK;
}
