/* Distances on the earth. Own header: functions.h.
 *
 * Sine, cosine and arc sine are polynomials over +, *, / and sqrt, which every machine rounds alike;
 * those of C libraries differ in the last digit. Coefficients: fdlibm (Sun Microsystems, 1993, freely
 * usable), within 1 unit in the last place on the ranges used here. */
#include "processor/functions.h"

#include <math.h>

#define EARTH_RADIUS_KM 6371.0088 /* the mean one, IUGG */
#define RADIANS         0.017453292519943295

/* |x| <= pi/4 */
static double sine_near_zero(double x)
{
    double z = x * x;
    double r = 8.33333333332248946124e-03 +
               z * (-1.98412698298579493134e-04 +
                    z * (2.75573137070700676789e-06 +
                         z * (-2.50507602534068634195e-08 + z * 1.58969099521155010221e-10)));
    return x + z * x * (-1.66666666666666324348e-01 + z * r);
}

static double cosine_near_zero(double x)
{
    double z = x * x;
    double r =
        z * (4.16666666666666019037e-02 +
             z * (-1.38888888888741095749e-03 +
                  z * (2.48015872894767294178e-05 +
                       z * (-2.75573143513906633035e-07 +
                            z * (2.08757232129817482790e-09 + z * -1.13596475577881948265e-11)))));
    return 1.0 - (0.5 * z - z * r);
}

/* Of degrees from 0 to 180. */
static double sine_degrees(double x)
{
    double a = x > 90 ? 180 - x : x;
    return a <= 45 ? sine_near_zero(a * RADIANS) : cosine_near_zero((90 - a) * RADIANS);
}

static double arc_sine_ratio(double t)
{
    double p =
        t * (1.66666666666666657415e-01 +
             t * (-3.25565818622400915405e-01 +
                  t * (2.01212532134862925881e-01 +
                       t * (-4.00555345006794114027e-02 +
                            t * (7.91534994289814532176e-04 + t * 3.47933107596021167570e-05)))));
    double q = 1.0 + t * (-2.40339491173441421878e+00 +
                          t * (2.02094576023350569471e+00 +
                               t * (-6.88283971605453293030e-01 + t * 7.70381505559019352791e-02)));
    return p / q;
}

/* 0 <= x <= 1 */
static double arc_sine(double x)
{
    if (x < 0.5) {
        return x + x * arc_sine_ratio(x * x);
    }
    double t = (1.0 - x) / 2;
    double s = sqrt(t);
    return 1.57079632679489655800 - 2 * (s + s * arc_sine_ratio(t));
}

static bool on_earth(double latitude, double longitude)
{
    return fabs(latitude) <= 90 && fabs(longitude) <= 180; /* false for NaN too */
}

static double distance_km(double latitude1, double longitude1, double latitude2, double longitude2)
{
    double up = sine_degrees(fabs(latitude2 - latitude1) / 2);
    double across = sine_degrees(fabs(longitude2 - longitude1) / 2);
    double h = up * up + sine_degrees(90 - fabs(latitude1)) * sine_degrees(90 - fabs(latitude2)) *
                             across * across;
    return 2 * EARTH_RADIUS_KM * arc_sine(h < 1 ? sqrt(h) : 1.0);
}

void expr_haversine_km(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const double *latitude1 = expr_arg(step, frame, 0)->d;
    const double *longitude1 = expr_arg(step, frame, 1)->d;
    const double *latitude2 = expr_arg(step, frame, 2)->d;
    const double *longitude2 = expr_arg(step, frame, 3)->d;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] != EXPR_OK) {
            continue;
        }
        bool there = on_earth(latitude1[i], longitude1[i]) && on_earth(latitude2[i], longitude2[i]);
        expr_fail(&out->state[i], !there, EXPR_ERROR_ARGUMENT);
        out->d[i] =
            there ? distance_km(latitude1[i], longitude1[i], latitude2[i], longitude2[i]) : 0.0;
    }
}
