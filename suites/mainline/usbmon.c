/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Reads USB transfers from a mapping of the ring buffer of usbmon. The transfers are requests of this program for the
 * descriptor of a root hub, so the program knows their data.
 */
#include "mainline.h"
#include <linux/usbdevice_fs.h>

/* From drivers/usb/mon/mon_bin.c: usbmon has no header for user space. */
struct packet {
	uint64_t id;
	unsigned char type, transfer, endpoint, device;
	uint16_t bus;
	char flag_setup, flag_data;
	int64_t seconds;
	int32_t microseconds, status;
	uint32_t length, captured;
	unsigned char setup[8];
	int32_t interval, start_frame;
	uint32_t flags, descriptors;
};

struct fetch {
	uint32_t *offsets;
	uint32_t count, flush;
};

#define SET_RING_SIZE _IO(0x92, 4)
#define FETCH _IOWR(0x92, 7, struct fetch)

enum { PACKET_SIZE = 64, RING = 4, RINGS = 8, ROUNDS = 60, DESCRIPTOR = 18, EVENTS = 16 };

/* Watches transfers in a ring of its own, and leaves it open: the next ring then has other pages, of other colours. */
static void watch(int hub)
{
	size_t length = RING * page_size();
	int monitor = need(open("/dev/usbmon0", O_RDONLY), "open /dev/usbmon0");
	unsigned char descriptor[DESCRIPTOR], *ring;
	int found = 0;
	uint32_t flush = 0;

	check(ioctl(monitor, SET_RING_SIZE, length), "MON_IOCT_RING_SIZE");
	ring = mmap(NULL, length, PROT_READ, MAP_SHARED, monitor, 0);
	if (ring == MAP_FAILED)
		fail("mmap of the ring: %s", strerror(errno));
	for (int round = 0; round < ROUNDS; round++) {
		uint32_t offsets[EVENTS];
		struct fetch fetch = { .offsets = offsets, .count = EVENTS, .flush = flush };
		/* GET_DESCRIPTOR, of the device (USB 2.0, 9.4.3). */
		struct usbdevfs_ctrltransfer transfer = {
			.bRequestType = 0x80, .bRequest = 6, .wValue = 1 << 8,
			.wLength = DESCRIPTOR, .timeout = 1000, .data = descriptor,
		};

		if (check(ioctl(hub, USBDEVFS_CONTROL, &transfer), "USBDEVFS_CONTROL") != DESCRIPTOR)
			fail("the descriptor is short");
		check(ioctl(monitor, FETCH, &fetch), "MON_IOCX_MFETCH");
		flush = fetch.count;
		for (uint32_t i = 0; i < fetch.count; i++) {
			const struct packet *packet = (void *)(ring + offsets[i]);

			if (packet->type != 'S' && packet->type != 'C' && packet->type != '@')
				fail("event %u of round %d has the type 0x%02x", i, round, packet->type);
			if (packet->type != 'C' || packet->captured != DESCRIPTOR)
				continue;
			if (memcmp(ring + (offsets[i] + PACKET_SIZE) % length, descriptor, DESCRIPTOR))
				fail("round %d: the data of the transfer differ from the descriptor", round);
			found++;
		}
	}
	if (found < ROUNDS / 2)
		fail("usbmon showed %d of %d transfers", found, ROUNDS);
}

int main(void)
{
	int hub = need(open("/dev/bus/usb/001/001", O_RDWR), "open /dev/bus/usb/001/001");

	for (int ring = 0; ring < RINGS; ring++)
		watch(hub);
	return PASSED;
}
