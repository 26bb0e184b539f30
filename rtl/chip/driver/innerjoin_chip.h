/* Driver of the chip: it loads a network's image into the chip's memory, starts it, and reads what came of it.
 *
 * It needs no library and keeps no state but struct innerjoin_chip. Functions that return enum innerjoin_result
 * change nothing where they refuse. Processor and chip must see the same memory: it is not cached, or the caller
 * cleans and invalidates the cache before innerjoin_start and after innerjoin_wait.
 */
#ifndef INNERJOIN_CHIP_H
#define INNERJOIN_CHIP_H

#include <stdint.h>

#include "innerjoin_registers.h"

#ifdef __cplusplus
extern "C" {
#endif

enum innerjoin_result {
  INNERJOIN_OK,
  INNERJOIN_NO_CHIP,       /* identity or version is not what it should be */
  INNERJOIN_BAD_IMAGE,     /* it has no header of this version, or its sizes can't be */
  INNERJOIN_OTHER_CHIP,    /* the image was made for another configuration */
  INNERJOIN_SMALL_MEMORY,  /* the image does not fit */
  INNERJOIN_BUSY,          /* a network is running */
  INNERJOIN_RUNNING,       /* it is not done yet */
  INNERJOIN_FAILED         /* it ended with an error: innerjoin_code and innerjoin_error_entry */
};

struct innerjoin_chip {
  volatile uint32_t *registers;
  volatile uint8_t *memory; /* as the processor sees it */
  uint32_t memory_bytes;
  uint32_t bus_address; /* of the memory, as the chip sees it; a multiple of 4096 */
  uint32_t header[INNERJOIN_HEADER_WORDS];
};

/* Take a chip and its memory; say whether it is there. */
enum innerjoin_result innerjoin_open(struct innerjoin_chip *chip, volatile void *registers, volatile void *memory,
                                     uint32_t memory_bytes, uint32_t bus_address);

/* Copy an image to the begin of the memory and take it. */
enum innerjoin_result innerjoin_load(struct innerjoin_chip *chip, const void *image, uint32_t image_bytes);

/* Take an image that lies at the begin of the memory already, with addresses from 0. */
enum innerjoin_result innerjoin_attach(struct innerjoin_chip *chip);

/* Store the network's input, input_bytes codes in order y, x, channel, and form its windows where layers want them. */
void innerjoin_set_input(struct innerjoin_chip *chip, const void *codes);

/* Start; interrupt: 1 to have one at the end. */
enum innerjoin_result innerjoin_start(struct innerjoin_chip *chip, int interrupt);

/* Say how it stands: OK when it is done. */
enum innerjoin_result innerjoin_poll(const struct innerjoin_chip *chip);

/* Poll until it is done, at most so many times; 0: for ever. */
enum innerjoin_result innerjoin_wait(const struct innerjoin_chip *chip, uint32_t polls);

/* Let the interrupt fall: in its handler. */
void innerjoin_acknowledge(struct innerjoin_chip *chip);

/* End the network early; innerjoin_wait then says FAILED, with INNERJOIN_CODE_STOPPED. */
void innerjoin_stop(struct innerjoin_chip *chip);

/* Why it ended (INNERJOIN_CODE_...), and at which entry of its list. */
uint32_t innerjoin_code(const struct innerjoin_chip *chip);
uint32_t innerjoin_error_entry(const struct innerjoin_chip *chip);

/* A register by its offset in bytes, such as INNERJOIN_CYCLES. */
uint32_t innerjoin_register(const struct innerjoin_chip *chip, uint32_t offset);

/* The output: bytes, its first code, and a code as a number. */
uint32_t innerjoin_output_bytes(const struct innerjoin_chip *chip);
const volatile uint8_t *innerjoin_output(const struct innerjoin_chip *chip);
int innerjoin_output_code(const struct innerjoin_chip *chip, uint32_t at);

/* The place of the greatest code of the output, the first of several: the class. */
uint32_t innerjoin_class(const struct innerjoin_chip *chip);

#ifdef __cplusplus
}
#endif
#endif
