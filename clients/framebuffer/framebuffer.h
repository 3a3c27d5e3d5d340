/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A framebuffer device in user space, and the pictures that it shows. */
#ifndef FRAMEBUFFER_H
#define FRAMEBUFFER_H

#include <stddef.h>
#include <stdint.h>

enum { WIDTH = 160, HEIGHT = 120 };

/* One pixel is red, green and blue from bit 16 on, of 8 bits each. */
typedef uint32_t pixel_t;

#define PICTURE_SIZE (WIDTH * HEIGHT * sizeof(pixel_t))

/* Returns a pixel of the picture `number`: a gradient, a frame of one pixel, and a square that moves with the number. */
pixel_t picture_pixel(unsigned int number, unsigned int x, unsigned int y);

/* Serves the device /dev/NAME until SIGTERM. It shows picture 0, and picture N after write() of N. Returns the status. */
int framebuffer_serve(const char *name);

#endif
