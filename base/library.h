/* A library of others: the version that Kappa was built with, and the one that it runs with. */
#ifndef KAPPA_BASE_LIBRARY_H
#define KAPPA_BASE_LIBRARY_H

struct library {
    const char *name;
    char built[48];
    char runs[48];
};

#endif
