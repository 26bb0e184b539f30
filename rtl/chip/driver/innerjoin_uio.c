#include "innerjoin_uio.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#define REGISTER_BYTES 4096u

/* Mapping n of a device begins at n pages of its file. */
static void *map(int file, uint32_t bytes, int number) {
  return mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, number * sysconf(_SC_PAGESIZE));
}

int innerjoin_uio_open(struct innerjoin_uio *device, const char *path, uint32_t memory_bytes, uint32_t bus_address) {
  int result;
  device->memory_bytes = memory_bytes;
  device->registers = device->memory = MAP_FAILED;
  device->file = open(path, O_RDWR | O_SYNC | O_CLOEXEC);
  if (device->file < 0) return -1;
  device->registers = map(device->file, REGISTER_BYTES, 0);
  if (device->registers != MAP_FAILED) device->memory = map(device->file, memory_bytes, 1);
  if (device->memory == MAP_FAILED) {
    const int reason = errno;
    innerjoin_uio_close(device);
    errno = reason;
    return -1;
  }
  result = innerjoin_open(&device->chip, device->registers, device->memory, memory_bytes, bus_address);
  if (result != INNERJOIN_OK) innerjoin_uio_close(device);
  return result;
}

int innerjoin_uio_wait(struct innerjoin_uio *device) {
  int result;
  while ((result = innerjoin_poll(&device->chip)) == INNERJOIN_RUNNING) {
    const uint32_t enable = 1;
    uint32_t count;
    ssize_t done = write(device->file, &enable, sizeof enable);
    if (done < 0) return -1;
    /* It may have ended before interrupts were enabled: then the line is high, and this returns at once. */
    do done = read(device->file, &count, sizeof count);
    while (done < 0 && errno == EINTR);
    if (done < 0) return -1;
  }
  innerjoin_acknowledge(&device->chip);
  return result;
}

void innerjoin_uio_close(struct innerjoin_uio *device) {
  if (device->memory != MAP_FAILED) munmap(device->memory, device->memory_bytes);
  if (device->registers != MAP_FAILED) munmap(device->registers, REGISTER_BYTES);
  if (device->file >= 0) close(device->file);
  device->memory = device->registers = MAP_FAILED;
  device->file = -1;
}
