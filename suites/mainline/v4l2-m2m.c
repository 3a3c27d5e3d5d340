/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Stores pictures in mapped buffers of the memory-to-memory test device vim2m, and reads what the driver has copied to
 * other mapped buffers. The format and the size are the same on both sides, so each picture is copied as it is.
 */
#include "mainline.h"
#include <linux/videodev2.h>

enum { WIDTH = 128, HEIGHT = 64, BUFFERS = 2, ROUNDS = 6 };

/* One side of the device. */
struct queue {
	enum v4l2_buf_type type;
	size_t length;
	void *buffers[BUFFERS];
};

static void set_up(int device, struct queue *queue, enum v4l2_buf_type type)
{
	struct v4l2_format format = { .type = type };
	struct v4l2_requestbuffers request = { .count = BUFFERS, .type = type, .memory = V4L2_MEMORY_MMAP };

	format.fmt.pix.width = WIDTH;
	format.fmt.pix.height = HEIGHT;
	format.fmt.pix.pixelformat = V4L2_PIX_FMT_RGB565;
	format.fmt.pix.field = V4L2_FIELD_NONE;
	check(ioctl(device, VIDIOC_S_FMT, &format), "VIDIOC_S_FMT");
	if (format.fmt.pix.width != WIDTH || format.fmt.pix.height != HEIGHT)
		fail("the device chose %ux%u", format.fmt.pix.width, format.fmt.pix.height);
	check(ioctl(device, VIDIOC_REQBUFS, &request), "VIDIOC_REQBUFS");
	queue->type = type;
	queue->length = format.fmt.pix.sizeimage;
	for (unsigned int i = 0; i < BUFFERS; i++) {
		struct v4l2_buffer buffer = { .index = i, .type = type, .memory = V4L2_MEMORY_MMAP };

		check(ioctl(device, VIDIOC_QUERYBUF, &buffer), "VIDIOC_QUERYBUF");
		queue->buffers[i] = map_shared(device, buffer.length, buffer.m.offset, "a buffer");
	}
}

static void put(int device, const struct queue *queue, unsigned int index)
{
	struct v4l2_buffer buffer = { .index = index, .type = queue->type, .memory = V4L2_MEMORY_MMAP };

	buffer.bytesused = queue->length;
	buffer.field = V4L2_FIELD_NONE;
	check(ioctl(device, VIDIOC_QBUF, &buffer), "VIDIOC_QBUF");
}

static unsigned int take(int device, const struct queue *queue)
{
	struct v4l2_buffer buffer = { .type = queue->type, .memory = V4L2_MEMORY_MMAP };

	check(ioctl(device, VIDIOC_DQBUF, &buffer), "VIDIOC_DQBUF");
	return buffer.index;
}

int main(void)
{
	int device = need(open("/dev/video0", O_RDWR), "open /dev/video0");
	struct v4l2_capability capability;
	struct queue source, destination;

	check(ioctl(device, VIDIOC_QUERYCAP, &capability), "VIDIOC_QUERYCAP");
	if (strcmp((char *)capability.driver, "vim2m"))
		skip("/dev/video0 is a device of %s, not of vim2m", capability.driver);
	set_up(device, &source, V4L2_BUF_TYPE_VIDEO_OUTPUT);
	set_up(device, &destination, V4L2_BUF_TYPE_VIDEO_CAPTURE);
	check(ioctl(device, VIDIOC_STREAMON, &source.type), "VIDIOC_STREAMON");
	check(ioctl(device, VIDIOC_STREAMON, &destination.type), "VIDIOC_STREAMON");
	for (unsigned int round = 0; round < ROUNDS; round++) {
		unsigned int index = round % BUFFERS;

		fill(source.buffers[index], source.length, round);
		put(device, &source, index);
		put(device, &destination, index);
		take(device, &source);
		index = take(device, &destination);
		expect_pattern(destination.buffers[index], source.length, round, "the copied picture");
	}
	return PASSED;
}
