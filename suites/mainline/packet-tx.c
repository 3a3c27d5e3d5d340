/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Sends frames from a ring of a packet socket, which this process maps, and receives them with another socket. */
#include "network.h"
#include <linux/if_packet.h>
#include <sys/time.h>

enum { BLOCKS = 16, FRAME = 2048, PAYLOAD = 1500, ROUNDS = 3 };

int main(void)
{
	int index = loopback_up(), version = TPACKET_V2, receiver, sender;
	size_t page = page_size(), frames = BLOCKS * page / FRAME;
	struct sockaddr_ll address = { .sll_family = AF_PACKET, .sll_protocol = htons(FRAME_PROTOCOL),
				       .sll_ifindex = index };
	struct tpacket_req ring = { .tp_block_size = page, .tp_block_nr = BLOCKS, .tp_frame_size = FRAME,
				    .tp_frame_nr = frames };
	struct timeval timeout = { .tv_sec = 2 };
	char *mapping, received[FRAME];

	receiver = need(socket(AF_PACKET, SOCK_RAW, htons(FRAME_PROTOCOL)), "socket(AF_PACKET)");
	check(setsockopt(receiver, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)), "SO_RCVTIMEO");
	check(bind(receiver, (struct sockaddr *)&address, sizeof(address)), "bind");
	sender = check(socket(AF_PACKET, SOCK_RAW, 0), "socket(AF_PACKET)");
	check(setsockopt(sender, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)), "PACKET_VERSION");
	check(setsockopt(sender, SOL_PACKET, PACKET_TX_RING, &ring, sizeof(ring)), "PACKET_TX_RING");
	address.sll_protocol = 0;
	check(bind(sender, (struct sockaddr *)&address, sizeof(address)), "bind");
	mapping = map_shared(sender, BLOCKS * page, 0, "the ring");
	for (size_t i = 0; i < ROUNDS * frames; i++) {
		struct tpacket2_hdr *header = (struct tpacket2_hdr *)(mapping + i % frames * FRAME);
		ssize_t size;

		if (__atomic_load_n(&header->tp_status, __ATOMIC_ACQUIRE) != TP_STATUS_AVAILABLE)
			fail("frame %zu: the status in the ring is 0x%x, not TP_STATUS_AVAILABLE", i, header->tp_status);
		build_frame((char *)header + TPACKET2_HDRLEN - sizeof(struct sockaddr_ll), PAYLOAD, i);
		header->tp_len = PAYLOAD;
		__atomic_store_n(&header->tp_status, TP_STATUS_SEND_REQUEST, __ATOMIC_RELEASE);
		if (check(send(sender, NULL, 0, 0), "send") != PAYLOAD)
			fail("frame %zu: the kernel did not see the request", i);
		size = check(recv(receiver, received, sizeof(received), 0), "recv");
		if (size != PAYLOAD)
			fail("frame %zu: expected %d bytes, received %zd", i, PAYLOAD, size);
		expect_pattern(received + ETH_HLEN, PAYLOAD - ETH_HLEN, i, "sent frame");
	}
	return PASSED;
}
