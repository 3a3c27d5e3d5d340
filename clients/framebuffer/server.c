/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The device: what programs need of a framebuffer (include/uapi/linux/fb.h). They draw and read by mmap() alone, because
 * there is no read().
 */
#define FUSE_USE_VERSION 317

#include "framebuffer.h"

#include <cuse_lowlevel.h>
#include <errno.h>
#include <linux/fb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct fuse_session *session;
static pixel_t *screen = MAP_FAILED;

static const struct fb_fix_screeninfo fixed = {
	.id = "dmmap",
	.smem_len = PICTURE_SIZE,
	.type = FB_TYPE_PACKED_PIXELS,
	.visual = FB_VISUAL_TRUECOLOR,
	.line_length = WIDTH * sizeof(pixel_t),
};

static const struct fb_var_screeninfo variable = {
	.xres = WIDTH,
	.yres = HEIGHT,
	.xres_virtual = WIDTH,
	.yres_virtual = HEIGHT,
	.bits_per_pixel = 8 * sizeof(pixel_t),
	.red = { .offset = 16, .length = 8 },
	.green = { .offset = 8, .length = 8 },
	.blue = { .offset = 0, .length = 8 },
	.width = -1,
	.height = -1,
};

pixel_t picture_pixel(unsigned int number, unsigned int x, unsigned int y)
{
	unsigned int left = (number * 16) % (WIDTH - 16);

	if (x == 0 || y == 0 || x == WIDTH - 1 || y == HEIGHT - 1)
		return 0xffffff;
	if (x - left < 16 && y - 52 < 16)
		return 0xff0000;
	return (x * 255 / WIDTH) << 8 | y * 255 / HEIGHT;
}

static void draw(unsigned int number)
{
	for (unsigned int y = 0; y < HEIGHT; y++)
		for (unsigned int x = 0; x < WIDTH; x++)
			screen[y * WIDTH + x] = picture_pixel(number, x, y);
}

static void on_init_done(void *userdata)
{
	(void)userdata;
	screen = fuse_session_map_pages(session, 0, PICTURE_SIZE, PROT_READ | PROT_WRITE);
	if (screen == MAP_FAILED)
		perror("framebuffer: cannot share the screen");
	else
		draw(0);
}

static void on_open(fuse_req_t request, struct fuse_file_info *file)
{
	if (screen == MAP_FAILED)
		fuse_reply_err(request, ENODEV);
	else
		fuse_reply_open(request, file);
}

static void on_mmap(fuse_req_t request, const struct fuse_mmap_param *mapping, struct fuse_file_info *file)
{
	size_t page = getpagesize(), size = (PICTURE_SIZE + page - 1) / page * page;

	(void)file;
	if ((size_t)mapping->offset > size || mapping->length > size - mapping->offset)
		fuse_reply_err(request, EINVAL);
	else
		fuse_reply_mmap(request, mapping->offset / page, 0);
}

static void on_write(fuse_req_t request, const char *data, size_t size, off_t offset, struct fuse_file_info *file)
{
	char text[16] = "";

	(void)offset;
	(void)file;
	memcpy(text, data, size < sizeof(text) ? size : sizeof(text) - 1);
	draw(strtoul(text, NULL, 10));
	fuse_reply_write(request, size);
}

/*
 * The numbers of these calls do not contain the size of their argument, so the first request comes without room for the
 * answer, and asks for it (CUSE_UNRESTRICTED_IOCTL).
 */
static void answer(fuse_req_t request, void *argument, const void *data, size_t size, size_t room)
{
	struct iovec out = { .iov_base = argument, .iov_len = size };

	if (room < size)
		fuse_reply_ioctl_retry(request, NULL, 0, &out, 1);
	else
		fuse_reply_ioctl(request, 0, data, size);
}

static void on_ioctl(fuse_req_t request, int command, void *argument, struct fuse_file_info *file, unsigned int flags,
		     const void *in, size_t in_size, size_t room)
{
	(void)file;
	(void)flags;
	(void)in;
	(void)in_size;
	switch (command) {
	case FBIOGET_FSCREENINFO:
		answer(request, argument, &fixed, sizeof(fixed), room);
		break;
	case FBIOGET_VSCREENINFO:
		answer(request, argument, &variable, sizeof(variable), room);
		break;
	default:
		fuse_reply_err(request, ENOTTY);
	}
}

static const struct cuse_lowlevel_ops operations = {
	.init_done = on_init_done,
	.open = on_open,
	.write = on_write,
	.ioctl = on_ioctl,
	.mmap = on_mmap,
};

int framebuffer_serve(const char *name)
{
	char device[64];
	const char *info[] = { device };
	struct cuse_info parameters = {
		.dev_info_argc = 1,
		.dev_info_argv = info,
		.flags = CUSE_UNRESTRICTED_IOCTL | CUSE_DMMAP,
	};
	char *words[] = { "framebuffer", "-f", "-s", NULL };
	int threads, status;

	snprintf(device, sizeof(device), "DEVNAME=%s", name);
	session = cuse_lowlevel_setup(3, words, &parameters, &operations, &threads, NULL);
	if (!session)
		return 1;
	status = fuse_session_loop(session) < 0;
	if (screen != MAP_FAILED)
		munmap(screen, PICTURE_SIZE);
	cuse_lowlevel_teardown(session);
	return status;
}
