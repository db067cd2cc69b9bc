/* A network of long lines between namespaces, for kernels without netem: every namespace gets a TUN device `lag0`, and every
 * IPv4 packet that one of them sends comes out at the one of its destination DELAY microseconds later, or is lost.
 *
 *   delay DELAY LOSS NAME...     LOSS in packets of a million; host k (from 1) is the one whose address ends in .k
 *
 * Says "ready" when the devices are there; ends when its standard input does. Needs root. Rates are the business of tbf. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum { HOSTS = 8, PACKET = 1600, LINE = 1 << 15 }; /* 32 k packets are 130 ms at 3 Gbit/s */

struct flight { /* one packet on its way */
    int64_t due; /* microseconds of the monotonic clock */
    int to;
    size_t size;
    unsigned char data[PACKET];
};

static struct flight *line; /* in order of time, since all wait equally long: a ring */
static size_t first, count;

static void fail(const char *what) {
    fprintf(stderr, "delay: %s: %s\n", what, strerror(errno));
    exit(2);
}

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* The device of a namespace. Its descriptor keeps working when this process has left the namespace again. */
static int device(const char *name, int home) {
    char path[128];
    snprintf(path, sizeof path, "/var/run/netns/%s", name);
    const int space = open(path, O_RDONLY | O_CLOEXEC);
    if (space < 0 || setns(space, CLONE_NEWNET) < 0) fail(path);
    close(space);
    const int tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    strcpy(request.ifr_name, "lag0");
    if (tun < 0 || ioctl(tun, TUNSETIFF, &request) < 0) fail("/dev/net/tun");
    if (setns(home, CLONE_NEWNET) < 0) fail("setns");
    return tun;
}

static void take(int tun, int hosts, int64_t delay, long loss) {
    for (int k = 0; k < 64 && count < LINE; k++) { /* a burst, so that no host starves another */
        struct flight *f = &line[(first + count) % LINE];
        const ssize_t size = read(tun, f->data, PACKET);
        if (size < 0) return;
        f->to = size >= 20 && f->data[0] >> 4 == 4 ? f->data[19] - 1 : -1;
        if (f->to < 0 || f->to >= hosts || random() % 1000000 < loss) continue;
        f->due = now() + delay;
        f->size = (size_t)size;
        count++;
    }
}

int main(int argc, char **argv) {
    const int hosts = argc - 3;
    if (hosts < 2 || hosts > HOSTS) {
        fprintf(stderr, "usage: delay DELAY LOSS NAME NAME...\n");
        return 2;
    }
    const int64_t delay = atoll(argv[1]);
    const long loss = atol(argv[2]);
    const int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    struct pollfd wait[HOSTS + 1] = {{0, POLLIN, 0}};
    if (!(line = malloc(LINE * sizeof *line))) fail("memory");
    for (int i = 0; i < hosts; i++) wait[i + 1] = (struct pollfd){device(argv[3 + i], home), POLLIN, 0};
    prctl(PR_SET_TIMERSLACK, 1000); /* ns: the default would add 50 us to every packet */
    puts("ready");
    fflush(stdout);
    while (!wait[0].revents) {
        const int64_t left = count ? line[first].due - now() : 100000;
        const struct timespec nap = {0, left > 0 ? (left < 100000 ? left : 100000) * 1000 : 0};
        if (ppoll(wait, (nfds_t)hosts + 1, &nap, NULL) < 0) fail("ppoll");
        for (int i = 1; i <= hosts; i++)
            if (wait[i].revents & POLLIN) take(wait[i].fd, hosts, delay, loss);
        for (const int64_t t = now(); count && line[first].due <= t; first = (first + 1) % LINE, count--) {
            const struct flight *f = &line[first];
            (void)!write(wait[f->to + 1].fd, f->data, f->size); /* a device that is down loses it, as a cut line does */
        }
    }
    return 0;
}
