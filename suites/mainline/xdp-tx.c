/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Sends frames with an AF_XDP socket on the loopback device, in copy mode. The frames are in memory of this process,
 * which the kernel maps for itself (net/xdp/xdp_umem.c). There are several sockets with other memory, because one mapping
 * could have the right colour by chance.
 */
#include "network.h"
#include <linux/if_xdp.h>
#include <linux/if_packet.h>
#include <sys/time.h>

#ifndef AF_XDP
#define AF_XDP 44
#endif
#ifndef SOL_XDP
#define SOL_XDP 283
#endif

enum { SOCKETS = 6, FRAMES = 32, CHUNK = 4096, PAYLOAD = 1400, ROUNDS = 3, RING = 64 };

/* Binds to the queue of the device. The kernel releases the queue of a closed socket a little later. */
static void bind_queue(int fd, const struct sockaddr_xdp *address)
{
	for (int tries = 0; bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0; tries++) {
		if (errno != EBUSY || tries == 1000)
			need(-1, "bind");
		usleep(1000);
	}
}

/* Sends from memory that stays mapped. */
static void send_frames(int index)
{
	int size = RING, fd, receiver;
	struct xdp_mmap_offsets offsets;
	struct sockaddr_ll link = { .sll_family = AF_PACKET, .sll_protocol = htons(FRAME_PROTOCOL),
				    .sll_ifindex = index };
	struct sockaddr_xdp address = { .sxdp_family = AF_XDP, .sxdp_ifindex = index, .sxdp_flags = XDP_COPY };
	struct timeval timeout = { .tv_sec = 2 };
	char *umem = map_anonymous((FRAMES + 1) * CHUNK), *tx, *completion, received[CHUNK];
	struct xdp_umem_reg registration = { .addr = (uintptr_t)umem, .len = FRAMES * CHUNK, .chunk_size = CHUNK };
	volatile uint32_t *producer, *done, *consumed;
	struct xdp_desc *descriptors;
	volatile uint64_t *completed;
	socklen_t length = sizeof(offsets);
	size_t tx_length, completion_length;

	fd = need(socket(AF_XDP, SOCK_RAW, 0), "socket(AF_XDP)");
	check(setsockopt(fd, SOL_XDP, XDP_UMEM_REG, &registration, sizeof(registration)), "XDP_UMEM_REG");
	check(setsockopt(fd, SOL_XDP, XDP_UMEM_FILL_RING, &size, sizeof(size)), "XDP_UMEM_FILL_RING");
	check(setsockopt(fd, SOL_XDP, XDP_UMEM_COMPLETION_RING, &size, sizeof(size)), "XDP_UMEM_COMPLETION_RING");
	check(setsockopt(fd, SOL_XDP, XDP_TX_RING, &size, sizeof(size)), "XDP_TX_RING");
	check(getsockopt(fd, SOL_XDP, XDP_MMAP_OFFSETS, &offsets, &length), "XDP_MMAP_OFFSETS");
	tx_length = offsets.tx.desc + RING * sizeof(struct xdp_desc);
	completion_length = offsets.cr.desc + RING * sizeof(uint64_t);
	tx = map_shared(fd, tx_length, XDP_PGOFF_TX_RING, "the transmit ring");
	completion =
		map_shared(fd, completion_length, XDP_UMEM_PGOFF_COMPLETION_RING, "the completion ring");
	bind_queue(fd, &address);
	receiver = need(socket(AF_PACKET, SOCK_RAW, htons(FRAME_PROTOCOL)), "socket(AF_PACKET)");
	check(setsockopt(receiver, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)), "SO_RCVTIMEO");
	check(bind(receiver, (struct sockaddr *)&link, sizeof(link)), "bind");
	producer = (uint32_t *)(tx + offsets.tx.producer);
	descriptors = (struct xdp_desc *)(tx + offsets.tx.desc);
	done = (uint32_t *)(completion + offsets.cr.producer);
	consumed = (uint32_t *)(completion + offsets.cr.consumer);
	completed = (uint64_t *)(completion + offsets.cr.desc);
	for (uint32_t i = 0; i < ROUNDS * FRAMES; i++) {
		uint64_t at = i % FRAMES * CHUNK;
		ssize_t got;

		build_frame(umem + at, PAYLOAD, i);
		descriptors[i % RING] = (struct xdp_desc){ .addr = at, .len = PAYLOAD };
		__atomic_store_n(producer, i + 1, __ATOMIC_RELEASE);
		if (sendto(fd, NULL, 0, MSG_DONTWAIT, NULL, 0) < 0 && errno != EAGAIN && errno != EBUSY)
			fail("sendto: %s", strerror(errno));
		got = check(recv(receiver, received, sizeof(received), 0), "recv");
		if (got != PAYLOAD)
			fail("frame %u: expected %d bytes, received %zd", i, PAYLOAD, got);
		expect_pattern(received + ETH_HLEN, PAYLOAD - ETH_HLEN, i, "sent frame");
		for (int tries = 0; __atomic_load_n(done, __ATOMIC_ACQUIRE) == i; tries++) {
			if (tries == 1000)
				fail("frame %u: no completion", i);
			usleep(1000);
		}
		if (completed[i % RING] != at)
			fail("completion %u: expected the address %llu, found %llu", i, (unsigned long long)at,
			     (unsigned long long)completed[i % RING]);
		__atomic_store_n(consumed, i + 1, __ATOMIC_RELEASE);
	}
	/* Mappings of the rings keep the socket. */
	munmap(tx, tx_length);
	munmap(completion, completion_length);
	close(fd);
	close(receiver);
}

int main(void)
{
	int index = loopback_up();

	for (int i = 0; i < SOCKETS; i++)
		send_frames(index);
	return PASSED;
}
