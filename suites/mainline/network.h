/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The loopback device. */
#ifndef NETWORK_H
#define NETWORK_H

#include "mainline.h"
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <net/if.h>
#include <netinet/in.h>

/* Turns on the loopback device and returns its index. */
HELPER int loopback_up(void)
{
	struct ifreq request = { .ifr_name = "lo" };
	int fd = need(socket(AF_INET, SOCK_DGRAM, 0), "socket"), index;

	need(ioctl(fd, SIOCGIFFLAGS, &request), "SIOCGIFFLAGS");
	request.ifr_flags |= IFF_UP;
	check(ioctl(fd, SIOCSIFFLAGS, &request), "SIOCSIFFLAGS");
	check(ioctl(fd, SIOCGIFINDEX, &request), "SIOCGIFINDEX");
	index = request.ifr_ifindex;
	close(fd);
	return index;
}

/* Builds a frame of an experimental protocol (IEEE 802) with a pattern as its payload. */
HELPER void build_frame(void *frame, size_t length, unsigned int seed)
{
	static const unsigned char header[ETH_HLEN] = { [12] = 0x88, [13] = 0xb5 };

	memcpy(frame, header, sizeof(header));
	fill((char *)frame + ETH_HLEN, length - ETH_HLEN, seed);
}

enum { FRAME_PROTOCOL = 0x88b5 };

/* Returns a connected pair of TCP sockets over the loopback device. */
HELPER void tcp_pair(int pair[2])
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(address);
	int listener;

	loopback_up();
	listener = need(socket(AF_INET, SOCK_STREAM, 0), "socket");
	check(bind(listener, (struct sockaddr *)&address, length), "bind");
	check(listen(listener, 1), "listen");
	check(getsockname(listener, (struct sockaddr *)&address, &length), "getsockname");
	pair[0] = check(socket(AF_INET, SOCK_STREAM, 0), "socket");
	check(connect(pair[0], (struct sockaddr *)&address, length), "connect");
	pair[1] = check(accept(listener, NULL, NULL), "accept");
	close(listener);
}

#endif
