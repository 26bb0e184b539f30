/* The chip under Linux, from user space, over UIO.
 *
 * The device's mapping 0 is the chip's registers, mapping 1 memory that is the chip's alone (not cached). A device
 * tree node with compatible = "generic-uio", these two reg ranges and the interrupt is enough.
 */
#ifndef INNERJOIN_UIO_H
#define INNERJOIN_UIO_H

#include "innerjoin_chip.h"

struct innerjoin_uio {
  struct innerjoin_chip chip;
  int file;
  void *registers, *memory;
  uint32_t memory_bytes;
};

/* Open a device such as /dev/uio0. Returns -1 with errno set where the system refuses, else an innerjoin_result. */
int innerjoin_uio_open(struct innerjoin_uio *device, const char *path, uint32_t memory_bytes, uint32_t bus_address);

/* Wait for the interrupt of the network that innerjoin_start(&device->chip, 1) began. Returns as open does. */
int innerjoin_uio_wait(struct innerjoin_uio *device);

void innerjoin_uio_close(struct innerjoin_uio *device);

#endif
