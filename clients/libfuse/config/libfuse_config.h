/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Version of libfuse, which programs include too, in place of the file that meson writes. A static library has no
 * versioned symbols.
 */
#define FUSE_MAJOR_VERSION 3
#define FUSE_MINOR_VERSION 17
#define FUSE_HOTFIX_VERSION 2
#define FUSE_RC_VERSION ""
