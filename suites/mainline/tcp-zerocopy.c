/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Maps received pages of a TCP connection with TCP_ZEROCOPY_RECEIVE. The sender sends from a file, page by page. */
#include "network.h"
#include <linux/tcp.h>
#include <sys/sendfile.h>

enum { PAGES = 8, ROUNDS = 4 };

int main(void)
{
	size_t page = page_size(), length = PAGES * page, mapped_total = 0;
	int file = memory_file(length), pair[2];
	char *plain = map_anonymous(length), *mapping, *rest = map_anonymous(length);

	tcp_pair(pair);
	mapping = mmap(NULL, length, PROT_READ, MAP_SHARED, pair[1], 0);
	if (mapping == MAP_FAILED)
		need(-1, "mmap of the socket");
	for (int round = 0; round < ROUNDS; round++) {
		size_t done = 0;
		off_t offset = 0;

		fill(plain, length, round);
		check(pwrite(file, plain, length, 0), "pwrite");
		for (size_t at = 0; at < length;)
			at += check(sendfile(pair[0], file, &offset, length - at), "sendfile");
		while (done < length) {
			struct tcp_zerocopy_receive receive = { .address = (uintptr_t)mapping, .length = length - done };
			socklen_t size = sizeof(receive);
			size_t copied = 0;

			need(getsockopt(pair[1], IPPROTO_TCP, TCP_ZEROCOPY_RECEIVE, &receive, &size), "TCP_ZEROCOPY_RECEIVE");
			for (size_t i = 0; i < receive.length; i++)
				if (((volatile char *)mapping)[i] != (char)pattern(round, done + i))
					fail("round %d: byte %zu of the mapped pages differs", round, done + i);
			mapped_total += receive.length;
			done += receive.length;
			if (receive.recv_skip_hint)
				copied = check(recv(pair[1], rest, receive.recv_skip_hint, 0), "recv");
			for (size_t i = 0; i < copied; i++)
				if (rest[i] != (char)pattern(round, done + i))
					fail("round %d: byte %zu of the copied data differs", round, done + i);
			done += copied;
		}
	}
	if (!mapped_total)
		skip("the kernel mapped no page of the connection");
	return PASSED;
}
