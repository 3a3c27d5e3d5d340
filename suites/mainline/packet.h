/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Rings of packet sockets on the loopback device. Each block of a ring is one page. */
#ifndef PACKET_H
#define PACKET_H

#include "network.h"
#include <linux/if_packet.h>

enum { BLOCKS = 16, FRAME = 2048, PAYLOAD = 1500, ROUNDS = 3 };

/* Returns the number of frames in a ring. */
HELPER size_t ring_frames(void)
{
	return BLOCKS * page_size() / FRAME;
}

/* Returns the address of the loopback device, which it turns on, for one protocol. */
HELPER struct sockaddr_ll loopback_address(int protocol)
{
	return (struct sockaddr_ll){ .sll_family = AF_PACKET, .sll_protocol = htons(protocol),
				     .sll_ifindex = loopback_up() };
}

/* Gives a packet socket a ring of one kind: PACKET_RX_RING or PACKET_TX_RING. */
HELPER void set_ring(int fd, int kind, const char *name)
{
	int version = TPACKET_V2;
	struct tpacket_req ring = { .tp_block_size = page_size(), .tp_block_nr = BLOCKS, .tp_frame_size = FRAME,
				    .tp_frame_nr = ring_frames() };

	check(setsockopt(fd, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)), "PACKET_VERSION");
	check(setsockopt(fd, SOL_PACKET, kind, &ring, sizeof(ring)), name);
}

/* Maps the ring of a socket. It must be bound by then. */
HELPER char *map_ring(int fd)
{
	return map_shared(fd, BLOCKS * page_size(), 0, "the ring");
}

/* Returns the slot of a mapped ring in which frame number `frame` is. */
HELPER struct tpacket2_hdr *slot(char *ring, size_t frame)
{
	return (struct tpacket2_hdr *)(ring + frame % ring_frames() * FRAME);
}

#endif
