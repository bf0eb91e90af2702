/* Numbers as the exact sum of two doubles, hi + lo with |lo| <= half a unit in the last place of hi:
 * about 106 bits. For functions of doubles that must round the same everywhere: only + - * / and sqrt,
 * which IEEE 754 defines to the bit. Compiled without contraction to fused operations
 * (-ffp-contract=off).
 *
 * T. J. Dekker, "A floating-point technique for extending the available precision", Numerische
 * Mathematik 18 (1971); D. E. Knuth, The Art of Computer Programming, volume 2, 4.2.2. */
#ifndef KAPPA_PROCESSOR_DOUBLE_DOUBLE_H
#define KAPPA_PROCESSOR_DOUBLE_DOUBLE_H

#include <math.h>

struct dd {
    double hi;
    double lo;
};

/* a + b; |a| >= |b| or a is 0. */
static inline struct dd dd_quick(double a, double b)
{
    double sum = a + b;
    return (struct dd){sum, b - (sum - a)};
}

/* a + b */
static inline struct dd dd_sum(double a, double b)
{
    double sum = a + b;
    double part = sum - a;
    return (struct dd){sum, (a - (sum - part)) + (b - part)};
}

/* a * b; both below 2^990, the product above 2^-960. */
static inline struct dd dd_product(double a, double b)
{
    const double splitter = 134217729.0; /* 2^27 + 1 */
    double at = splitter * a;
    double bt = splitter * b;
    double ah = at - (at - a);
    double bh = bt - (bt - b);
    double al = a - ah;
    double bl = b - bh;
    double product = a * b;
    return (struct dd){product, ((ah * bh - product) + ah * bl + al * bh) + al * bl};
}

static inline struct dd dd_add(struct dd a, struct dd b)
{
    struct dd sum = dd_sum(a.hi, b.hi);
    struct dd low = dd_sum(a.lo, b.lo);
    sum = dd_quick(sum.hi, sum.lo + low.hi);
    return dd_quick(sum.hi, sum.lo + low.lo);
}

static inline struct dd dd_negate(struct dd a)
{
    return (struct dd){-a.hi, -a.lo};
}

static inline struct dd dd_multiply(struct dd a, struct dd b)
{
    struct dd product = dd_product(a.hi, b.hi);
    return dd_quick(product.hi, product.lo + (a.hi * b.lo + a.lo * b.hi));
}

static inline struct dd dd_divide(struct dd a, struct dd b)
{
    double quotient = a.hi / b.hi;
    struct dd back = dd_product(quotient, b.hi);
    double rest = ((a.hi - back.hi) - back.lo + a.lo) - quotient * b.lo;
    return dd_quick(quotient, rest / b.hi);
}

/* a >= 0 */
static inline struct dd dd_sqrt(struct dd a)
{
    double root = sqrt(a.hi);
    if (root == 0.0) {
        return (struct dd){0.0, 0.0};
    }
    struct dd back = dd_product(root, root);
    return dd_quick(root, ((a.hi - back.hi) - back.lo + a.lo) / (2.0 * root));
}

#endif
