/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Sends from the pages of this process with MSG_ZEROCOPY over TCP on the loopback device. */
#include "network.h"
#include <linux/errqueue.h>
#include <poll.h>

#ifndef SO_ZEROCOPY
#define SO_ZEROCOPY 60
#endif
#ifndef MSG_ZEROCOPY
#define MSG_ZEROCOPY 0x4000000
#endif

enum { PAGES = 4, ROUNDS = 8 };

int main(void)
{
	size_t length = PAGES * page_size();
	char *buffer = map_anonymous(length), *received = map_anonymous(length), control[128];
	int pair[2], one = 1;

	tcp_pair(pair);
	need(setsockopt(pair[0], SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one)), "SO_ZEROCOPY");
	for (int round = 0; round < ROUNDS; round++) {
		struct msghdr message = { .msg_control = control, .msg_controllen = sizeof(control) };
		struct pollfd ready = { .fd = pair[0] };

		fill(buffer, length, round);
		if (check(send(pair[0], buffer, length, MSG_ZEROCOPY), "send") != (ssize_t)length)
			fail("short send");
		for (size_t at = 0; at < length;)
			at += check(recv(pair[1], received + at, length - at, 0), "recv");
		expect_pattern(received, length, round, "received data");
		/* The kernel uses the pages until it reports the completion. */
		if (check(poll(&ready, 1, 2000), "poll") != 1 || recvmsg(pair[0], &message, MSG_ERRQUEUE) < 0)
			fail("round %d: no completion", round);
	}
	return PASSED;
}
