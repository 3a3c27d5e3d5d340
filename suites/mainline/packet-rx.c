/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Receives frames in a ring of a packet socket, which this process maps. Each block of the ring is one page, so that
 * the addresses of the kernel and of the mapping differ in colour for some block (net/packet/af_packet.c).
 */
#include "packet.h"
#include <poll.h>

int main(void)
{
	struct sockaddr_ll address = loopback_address(FRAME_PROTOCOL);
	char *ring, frame[PAYLOAD];
	int receiver, sender;

	receiver = need(socket(AF_PACKET, SOCK_RAW, htons(FRAME_PROTOCOL)), "socket(AF_PACKET)");
	set_ring(receiver, PACKET_RX_RING, "PACKET_RX_RING");
	check(bind(receiver, (struct sockaddr *)&address, sizeof(address)), "bind");
	ring = map_ring(receiver);
	sender = check(socket(AF_PACKET, SOCK_RAW, 0), "socket(AF_PACKET)");
	for (size_t i = 0; i < ROUNDS * ring_frames(); i++) {
		struct tpacket2_hdr *header = slot(ring, i);
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
