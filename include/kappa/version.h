/* The release. Nothing else: it is included where the number is shown. */
#ifndef KAPPA_VERSION_H
#define KAPPA_VERSION_H

#define KAPPA_VERSION "0.1.0"

#endif
