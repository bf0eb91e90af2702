/* Tells the service manager that started the process what it is doing (systemd's Type=notify: one
 * datagram to the socket that NOTIFY_SOCKET names; sd_notify(3)). */
#ifndef KAPPA_CONTROLLER_NOTIFY_H
#define KAPPA_CONTROLLER_NOTIFY_H

/* state: lines such as "READY=1". Nothing happens when nobody asked for it, or listens. */
void notify_manager(const char *state);

#endif
