/* exp, log, trigonometry of doubles, the same bits on every machine: C libraries differ in the last
 * place, and then the digests of two replays would. Errors are below 0.9 units in the last place (tan:
 * 1; log, log10, cbrt: 0.51) where the result is a normal number. Infinite and undefined results as
 * C's functions of the same name. */
#ifndef KAPPA_PROCESSOR_MATH_DOUBLE_H
#define KAPPA_PROCESSOR_MATH_DOUBLE_H

double math_exp(double x);
double math_log(double x);
double math_log10(double x);
/* Logarithm of x to a base; NaN unless both are positive. */
double math_log_base(double base, double x);
double math_power(double x, double y);
double math_cbrt(double x);
double math_sin(double x);
double math_cos(double x);
double math_tan(double x);
double math_asin(double x);
double math_acos(double x);
double math_atan(double x);
double math_atan2(double y, double x);
/* Great-circle distance of two places in degrees, on a sphere of 6371.0088 km (the earth's mean
 * radius). NaN for a latitude beyond 90 or a longitude beyond 180. */
double math_haversine_km(double lat1, double lon1, double lat2, double lon2);

#endif
