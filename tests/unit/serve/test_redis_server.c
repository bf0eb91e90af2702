/* Goal: a connection that is closed is done with, also while another process still has its socket: a worker
 * that is being started has all of them for a moment.
 * Method: a real server and sockets; a child that keeps what it inherits. */
#include "serve/redis.h"

#include "tests/unit/serve/reader_world.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define WAIT_US 60000000

static int dial(const struct redis_server *server)
{
    const char *port = strrchr(redis_server_address(server), ':') + 1;
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons((uint16_t)strtoul(port, NULL, 10))};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)(const void *)&to, sizeof to), 0);
    return fd;
}

static void ping(int fd)
{
    char answer[7];
    assert_int_equal(send(fd, "PING\r\n", 6, MSG_NOSIGNAL), 6);
    assert_int_equal(recv(fd, answer, sizeof answer, MSG_WAITALL), sizeof answer);
    assert_memory_equal(answer, "+PONG\r\n", sizeof answer);
}

static void wait_connected(const struct redis_server *server, uint64_t wanted)
{
    const struct redis_counters *counters = redis_server_counters(server);
    int64_t until = clock_mono_us(clock_real()) + WAIT_US;
    while (__atomic_load_n(&counters->connected, __ATOMIC_RELAXED) != wanted) {
        assert_true(clock_mono_us(clock_real()) < until);
        (void)usleep(1000);
    }
}

/* Has all that is open here, until it is killed. */
static pid_t child_start(void)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;) {
            (void)pause();
        }
    }
    return child;
}

static void test_inherited(void **state)
{
    (void)state;
    struct world world;
    struct reader *reader = NULL;
    struct redis_server *server = NULL;
    world_open(&world, 3);
    make_version(&world, 1, 100);
    serve(&world, 1, 1);
    assert_ok(reader_open(world.dir, &reader, &fault));
    const struct redis_options options = {.address = "127.0.0.1:0", .reader = reader, .threads = 1};
    assert_ok(redis_server_start(&options, &server, &fault));

    int first = dial(server);
    ping(first);
    pid_t child = child_start();
    assert_int_equal(shutdown(first, SHUT_RDWR), 0); /* a close would leave the child's */
    wait_connected(server, 0);
    int second = dial(server);
    for (int i = 0; i < 50; i++) { /* rounds in which the first one might be heard of */
        ping(second);
    }
    wait_connected(server, 1);

    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    (void)close(first);
    (void)close(second);
    redis_server_stop(server);
    reader_close(reader);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_inherited)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
