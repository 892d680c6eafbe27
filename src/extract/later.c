/* Formats whose loaders are not part of this build. */
#include "extract/extract_int.h"
#include "extract/types.h"

#define REFUSE(name)                                                                               \
    enum err load_##name(struct load *l, struct error *error)                                      \
    {                                                                                              \
        return err_set(error, ERR_MEDIA_TYPE, "it is %s, which this build can't read",             \
                       type_what(l->type));                                                        \
    }
REFUSE(pdf)
REFUSE(docx)
REFUSE(pptx)
REFUSE(xlsx)
REFUSE(odf)
REFUSE(epub)
REFUSE(html)
REFUSE(eml)
REFUSE(csv)
REFUSE(json)
REFUSE(xml)
