/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Sends frames from a ring of a packet socket, which this process maps, and receives them with another socket. */
#include "packet.h"
#include <sys/time.h>

int main(void)
{
	struct sockaddr_ll address = loopback_address(FRAME_PROTOCOL);
	struct timeval timeout = { .tv_sec = 2 };
	char *ring, received[FRAME];
	int receiver, sender;

	receiver = need(socket(AF_PACKET, SOCK_RAW, htons(FRAME_PROTOCOL)), "socket(AF_PACKET)");
	check(setsockopt(receiver, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)), "SO_RCVTIMEO");
	check(bind(receiver, (struct sockaddr *)&address, sizeof(address)), "bind");
	sender = check(socket(AF_PACKET, SOCK_RAW, 0), "socket(AF_PACKET)");
	set_ring(sender, PACKET_TX_RING, "PACKET_TX_RING");
	address.sll_protocol = 0;
	check(bind(sender, (struct sockaddr *)&address, sizeof(address)), "bind");
	ring = map_ring(sender);
	for (size_t i = 0; i < ROUNDS * ring_frames(); i++) {
		struct tpacket2_hdr *header = slot(ring, i);
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
