/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Plays samples from a mapping of the playback buffer of a loopback sound card, and reads them from a mapping of the
 * capture buffer. The driver copies from one buffer to the other.
 */
#include "mainline.h"
#include <limits.h>
#include <sound/asound.h>

enum { FRAMES = 4096, PERIODS = 4, RATE = 48000, ROUNDS = 4 };

/* A frame: two samples of 16 bits. */
struct frame {
	uint16_t left, right;
};

static void set_mask(struct snd_pcm_hw_params *params, int which, unsigned int value)
{
	struct snd_mask *mask = &params->masks[which - SNDRV_PCM_HW_PARAM_FIRST_MASK];

	memset(mask, 0, sizeof(*mask));
	mask->bits[value / 32] = 1U << value % 32;
}

static void set_interval(struct snd_pcm_hw_params *params, int which, unsigned int value)
{
	struct snd_interval *interval = &params->intervals[which - SNDRV_PCM_HW_PARAM_FIRST_INTERVAL];

	*interval = (struct snd_interval){ .min = value, .max = value, .integer = 1 };
}

static int open_stream(const char *path)
{
	int stream = need(open(path, O_RDWR), path);
	struct snd_pcm_hw_params hardware = { .rmask = ~0U };
	struct snd_pcm_sw_params software = { .avail_min = 1, .period_step = 1, .proto = SNDRV_PCM_VERSION };

	memset(hardware.masks, 0xff, sizeof(hardware.masks));
	for (size_t i = 0; i < sizeof(hardware.intervals) / sizeof(hardware.intervals[0]); i++)
		hardware.intervals[i].max = UINT_MAX;
	set_mask(&hardware, SNDRV_PCM_HW_PARAM_ACCESS, SNDRV_PCM_ACCESS_MMAP_INTERLEAVED);
	/* The pattern has no byte order: both sides are this program. */
	set_mask(&hardware, SNDRV_PCM_HW_PARAM_FORMAT, SNDRV_PCM_FORMAT_S16_LE);
	set_mask(&hardware, SNDRV_PCM_HW_PARAM_SUBFORMAT, SNDRV_PCM_SUBFORMAT_STD);
	set_interval(&hardware, SNDRV_PCM_HW_PARAM_CHANNELS, 2);
	set_interval(&hardware, SNDRV_PCM_HW_PARAM_RATE, RATE);
	set_interval(&hardware, SNDRV_PCM_HW_PARAM_PERIODS, PERIODS);
	set_interval(&hardware, SNDRV_PCM_HW_PARAM_BUFFER_SIZE, FRAMES);
	check(ioctl(stream, SNDRV_PCM_IOCTL_HW_PARAMS, &hardware), "SNDRV_PCM_IOCTL_HW_PARAMS");
	/* Never start or stop by itself. */
	software.start_threshold = LONG_MAX;
	software.stop_threshold = LONG_MAX;
	software.boundary = FRAMES;
	check(ioctl(stream, SNDRV_PCM_IOCTL_SW_PARAMS, &software), "SNDRV_PCM_IOCTL_SW_PARAMS");
	return stream;
}

/* Returns the position of the hardware, in frames since the start. Tells the kernel that `ready` frames are stored. */
static unsigned long synchronize(int stream, unsigned long ready)
{
	struct snd_pcm_sync_ptr sync = { .flags = SNDRV_PCM_SYNC_PTR_HWSYNC };

	sync.c.control.appl_ptr = ready;
	sync.c.control.avail_min = 1;
	check(ioctl(stream, SNDRV_PCM_IOCTL_SYNC_PTR, &sync), "SNDRV_PCM_IOCTL_SYNC_PTR");
	return sync.s.status.hw_ptr;
}

int main(void)
{
	size_t length = FRAMES * sizeof(struct frame);

	/* Streams stay open: those of the next round then have other buffers, of other colours. */
	for (int round = 0; round < ROUNDS; round++) {
		int play = open_stream("/dev/snd/pcmC0D0p"), capture = open_stream("/dev/snd/pcmC0D1c");
		struct frame *played = map_shared(play, length, SNDRV_PCM_MMAP_OFFSET_DATA, "the playback buffer");
		struct frame *captured =
			map_shared(capture, length, SNDRV_PCM_MMAP_OFFSET_DATA, "the capture buffer");
		unsigned int sounds = 0;

		check(ioctl(play, SNDRV_PCM_IOCTL_PREPARE), "SNDRV_PCM_IOCTL_PREPARE");
		check(ioctl(capture, SNDRV_PCM_IOCTL_PREPARE), "SNDRV_PCM_IOCTL_PREPARE");
		/* The left sample is the number of the frame, from 1; the right one tells the rounds apart. */
		for (unsigned int i = 0; i < FRAMES; i++) {
			((volatile struct frame *)played)[i].left = i + 1;
			((volatile struct frame *)played)[i].right = ~(i + 1) ^ round;
		}
		synchronize(play, FRAMES);
		check(ioctl(capture, SNDRV_PCM_IOCTL_START), "SNDRV_PCM_IOCTL_START");
		check(ioctl(play, SNDRV_PCM_IOCTL_START), "SNDRV_PCM_IOCTL_START");
		/* Less than the buffer, so that what was captured is not overwritten. */
		while (synchronize(capture, 0) < FRAMES / 2)
			usleep(5000);
		check(ioctl(play, SNDRV_PCM_IOCTL_DROP), "SNDRV_PCM_IOCTL_DROP");
		check(ioctl(capture, SNDRV_PCM_IOCTL_DROP), "SNDRV_PCM_IOCTL_DROP");
		for (unsigned int i = 0; i < FRAMES / 2; i++) {
			struct frame frame = ((volatile struct frame *)captured)[i];

			if (!frame.left && !frame.right)
				continue;
			if (frame.right != (uint16_t)(~frame.left ^ round))
				fail("round %d, frame %u: captured 0x%04x and 0x%04x", round, i, frame.left,
				     frame.right);
			sounds++;
		}
		if (sounds < FRAMES / 8)
			fail("round %d: only %u of %u captured frames are no silence", round, sounds, FRAMES / 2);
	}
	return PASSED;
}
