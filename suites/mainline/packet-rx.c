/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Receives frames in a ring of a packet socket, which this process maps. Each block of the ring is one page, so that
 * the addresses of the kernel and of the mapping differ in colour for some block (net/packet/af_packet.c).
 */
#include "network.h"
#include <linux/if_packet.h>
#include <poll.h>

enum { BLOCKS = 16, FRAME = 2048, PAYLOAD = 1500, ROUNDS = 3 };

int main(void)
{
	int index = loopback_up(), version = TPACKET_V2, receiver, sender;
	size_t page = page_size(), frames = BLOCKS * page / FRAME;
	struct sockaddr_ll address = { .sll_family = AF_PACKET, .sll_protocol = htons(FRAME_PROTOCOL),
				       .sll_ifindex = index };
	struct tpacket_req ring = { .tp_block_size = page, .tp_block_nr = BLOCKS, .tp_frame_size = FRAME,
				    .tp_frame_nr = frames };
	char *mapping, frame[PAYLOAD];

	receiver = need(socket(AF_PACKET, SOCK_RAW, htons(FRAME_PROTOCOL)), "socket(AF_PACKET)");
	check(setsockopt(receiver, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)), "PACKET_VERSION");
	check(setsockopt(receiver, SOL_PACKET, PACKET_RX_RING, &ring, sizeof(ring)), "PACKET_RX_RING");
	check(bind(receiver, (struct sockaddr *)&address, sizeof(address)), "bind");
	mapping = map_shared(receiver, BLOCKS * page, 0, "the ring");
	sender = check(socket(AF_PACKET, SOCK_RAW, 0), "socket(AF_PACKET)");
	for (size_t i = 0; i < ROUNDS * frames; i++) {
		struct tpacket2_hdr *header = (struct tpacket2_hdr *)(mapping + i % frames * FRAME);
		struct pollfd ready = { .fd = receiver, .events = POLLIN };

		build_frame(frame, sizeof(frame), i);
		check(sendto(sender, frame, sizeof(frame), 0, (struct sockaddr *)&address, sizeof(address)), "sendto");
		if (check(poll(&ready, 1, 2000), "poll") != 1)
			fail("frame %zu: the socket is not readable: the kernel sees no free slot", i);
		if (!(__atomic_load_n(&header->tp_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER))
			fail("frame %zu: the status in the ring is 0x%x, without TP_STATUS_USER", i, header->tp_status);
		if (header->tp_snaplen != sizeof(frame))
			fail("frame %zu: expected %zu bytes, found %u", i, sizeof(frame), header->tp_snaplen);
		expect_pattern((char *)header + header->tp_mac + ETH_HLEN, sizeof(frame) - ETH_HLEN, i, "received frame");
		__atomic_store_n(&header->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
	}
	return PASSED;
}
