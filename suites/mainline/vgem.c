/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Maps a buffer of the virtual graphics device vgem twice, and as a DMA buffer. DMA_BUF_IOCTL_SYNC brackets the accesses
 * through the DMA buffer.
 */
#include "mainline.h"
#include <linux/dma-buf.h>

/* From include/uapi/drm, which not every C library's headers have. */
struct drm_mode_create_dumb {
	uint32_t height, width, bpp, flags, handle, pitch;
	uint64_t size;
};

struct drm_mode_map_dumb {
	uint32_t handle, pad;
	uint64_t offset;
};

struct drm_prime_handle {
	uint32_t handle, flags;
	int32_t fd;
};

#define DRM_IOCTL_MODE_CREATE_DUMB _IOWR('d', 0xb2, struct drm_mode_create_dumb)
#define DRM_IOCTL_MODE_MAP_DUMB _IOWR('d', 0xb3, struct drm_mode_map_dumb)
#define DRM_IOCTL_PRIME_HANDLE_TO_FD _IOWR('d', 0x2d, struct drm_prime_handle)

enum { WIDTH = 128, HEIGHT = 64, ROUNDS = 3 };

static void sync_buffer(int buffer, uint64_t flags)
{
	struct dma_buf_sync sync = { .flags = flags };

	check(ioctl(buffer, DMA_BUF_IOCTL_SYNC, &sync), "DMA_BUF_IOCTL_SYNC");
}

int main(void)
{
	int device = need(open("/dev/dri/card0", O_RDWR), "open /dev/dri/card0");
	struct drm_mode_create_dumb create = { .width = WIDTH, .height = HEIGHT, .bpp = 32 };
	struct drm_mode_map_dumb map = { 0 };
	struct drm_prime_handle prime = { .flags = O_CLOEXEC | O_RDWR };
	char *first, *second, *shared;

	need(ioctl(device, DRM_IOCTL_MODE_CREATE_DUMB, &create), "DRM_IOCTL_MODE_CREATE_DUMB");
	map.handle = prime.handle = create.handle;
	check(ioctl(device, DRM_IOCTL_MODE_MAP_DUMB, &map), "DRM_IOCTL_MODE_MAP_DUMB");
	check(ioctl(device, DRM_IOCTL_PRIME_HANDLE_TO_FD, &prime), "DRM_IOCTL_PRIME_HANDLE_TO_FD");
	first = map_shared(device, create.size, map.offset, "the buffer");
	second = map_shared(device, create.size, map.offset, "the buffer");
	shared = map_shared(prime.fd, create.size, 0, "the DMA buffer");
	for (size_t i = 0; i < create.size; i++)
		if (((volatile char *)first)[i])
			fail("byte %zu of a new buffer is not zero", i);
	for (int round = 0; round < ROUNDS; round++) {
		fill(first, create.size, round);
		expect_pattern(second, create.size, round, "data of the first mapping");
		sync_buffer(prime.fd, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW);
		expect_pattern(shared, create.size, round, "data of the first mapping in the DMA buffer");
		fill(shared, create.size, 50 + round);
		sync_buffer(prime.fd, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW);
		expect_pattern(second, create.size, 50 + round, "data of the DMA buffer");
	}
	return PASSED;
}
