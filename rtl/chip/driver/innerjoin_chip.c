#include "innerjoin_chip.h"

#define LIST_ENTRY_BYTES 16u

static uint32_t read_word(volatile const uint8_t *from) {
  return from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;
}

static void write_word(volatile uint8_t *to, uint32_t word) {
  for (int at = 0; at < 4; at++) to[at] = (uint8_t)(word >> (8 * at));
}

static void set_register(struct innerjoin_chip *chip, uint32_t offset, uint32_t word) {
  chip->registers[offset / 4] = word;
}

uint32_t innerjoin_register(const struct innerjoin_chip *chip, uint32_t offset) {
  return chip->registers[offset / 4];
}

enum innerjoin_result innerjoin_open(struct innerjoin_chip *chip, volatile void *registers, volatile void *memory,
                                     uint32_t memory_bytes, uint32_t bus_address) {
  chip->registers = registers;
  chip->memory = memory;
  chip->memory_bytes = memory_bytes;
  chip->bus_address = bus_address;
  for (uint32_t at = 0; at < INNERJOIN_HEADER_WORDS; at++) chip->header[at] = 0;
  if (innerjoin_register(chip, INNERJOIN_IDENTITY) != INNERJOIN_IDENTITY_VALUE ||
      innerjoin_register(chip, INNERJOIN_VERSION) != INNERJOIN_VERSION_VALUE)
    return INNERJOIN_NO_CHIP;
  return INNERJOIN_OK;
}

/* A part of the image, of so many bytes, lies within it. */
static int inside(const uint32_t *header, uint32_t address, uint64_t bytes) {
  return address + bytes <= header[INNERJOIN_HEADER_MEMORY_BYTES];
}

static enum innerjoin_result check(const struct innerjoin_chip *chip, const uint32_t *header) {
  if (header[INNERJOIN_HEADER_MAGIC] != INNERJOIN_IMAGE_MAGIC ||
      header[INNERJOIN_HEADER_VERSION] != INNERJOIN_VERSION_VALUE ||
      !inside(header, header[INNERJOIN_HEADER_LIST_ADDRESS],
              (uint64_t)LIST_ENTRY_BYTES * header[INNERJOIN_HEADER_ENTRIES]) ||
      !inside(header, header[INNERJOIN_HEADER_INPUT_ADDRESS], header[INNERJOIN_HEADER_INPUT_BYTES]) ||
      !inside(header, header[INNERJOIN_HEADER_OUTPUT_ADDRESS], header[INNERJOIN_HEADER_OUTPUT_BYTES]) ||
      !inside(header, header[INNERJOIN_HEADER_WINDOWS_ADDRESS],
              4ull * INNERJOIN_WINDOWS_WORDS * header[INNERJOIN_HEADER_WINDOWS]))
    return INNERJOIN_BAD_IMAGE;
  if (header[INNERJOIN_HEADER_CONFIGURATION] != innerjoin_register(chip, INNERJOIN_CONFIGURATION))
    return INNERJOIN_OTHER_CHIP;
  if (header[INNERJOIN_HEADER_MEMORY_BYTES] > chip->memory_bytes) return INNERJOIN_SMALL_MEMORY;
  return INNERJOIN_OK;
}

/* Refuse an image by its header, or keep that; from is where the image lies now. */
static enum innerjoin_result take(struct innerjoin_chip *chip, volatile const uint8_t *from) {
  uint32_t header[INNERJOIN_HEADER_WORDS];
  enum innerjoin_result result;
  if (innerjoin_register(chip, INNERJOIN_STATUS) & INNERJOIN_STATUS_RUNNING) return INNERJOIN_BUSY;
  for (uint32_t at = 0; at < INNERJOIN_HEADER_WORDS; at++) header[at] = read_word(from + 4 * at);
  result = check(chip, header);
  if (result == INNERJOIN_OK)
    for (uint32_t at = 0; at < INNERJOIN_HEADER_WORDS; at++) chip->header[at] = header[at];
  return result;
}

/* Addresses of the list are the chip's: only the list holds any. */
static void move_list(struct innerjoin_chip *chip) {
  volatile uint8_t *entry = chip->memory + chip->header[INNERJOIN_HEADER_LIST_ADDRESS];
  if (chip->bus_address == 0) return;
  for (uint32_t left = chip->header[INNERJOIN_HEADER_ENTRIES]; left != 0; left--, entry += LIST_ENTRY_BYTES)
    write_word(entry, read_word(entry) + chip->bus_address);
}

enum innerjoin_result innerjoin_attach(struct innerjoin_chip *chip) {
  enum innerjoin_result result;
  if (chip->memory_bytes < 4 * INNERJOIN_HEADER_WORDS) return INNERJOIN_SMALL_MEMORY;
  result = take(chip, chip->memory);
  if (result == INNERJOIN_OK) move_list(chip);
  return result;
}

enum innerjoin_result innerjoin_load(struct innerjoin_chip *chip, const void *image, uint32_t image_bytes) {
  const uint8_t *from = image;
  enum innerjoin_result result;
  if (image_bytes < 4 * INNERJOIN_HEADER_WORDS ||
      read_word(from + 4 * INNERJOIN_HEADER_MEMORY_BYTES) != image_bytes)
    return INNERJOIN_BAD_IMAGE;
  result = take(chip, from);
  if (result != INNERJOIN_OK) return result;
  for (uint32_t at = 0; at < image_bytes; at++) chip->memory[at] = from[at];
  move_list(chip);
  return INNERJOIN_OK;
}

/* Form the map of windows of a record: for each position the codes under the kernel, zeros outside the input. */
static void form_windows(struct innerjoin_chip *chip, const uint8_t *codes, volatile const uint8_t *record) {
  uint32_t word[INNERJOIN_WINDOWS_WORDS];
  const uint32_t height = chip->header[INNERJOIN_HEADER_INPUT_HEIGHT];
  const uint32_t width = chip->header[INNERJOIN_HEADER_INPUT_WIDTH];
  const uint32_t channels = chip->header[INNERJOIN_HEADER_INPUT_CHANNELS];
  volatile uint8_t *to;
  for (uint32_t at = 0; at < INNERJOIN_WINDOWS_WORDS; at++) word[at] = read_word(record + 4 * at);
  to = chip->memory + word[INNERJOIN_WINDOWS_ADDRESS];
  for (uint32_t p = 0; p < word[INNERJOIN_WINDOWS_OUT_HEIGHT]; p++)
    for (uint32_t q = 0; q < word[INNERJOIN_WINDOWS_OUT_WIDTH]; q++)
      for (uint32_t r = 0; r < word[INNERJOIN_WINDOWS_KERNEL_HEIGHT]; r++) {
        /* Above and left of the input these wrap to what is greater than its size. */
        const uint32_t y = p * word[INNERJOIN_WINDOWS_STRIDE_HEIGHT] + r - word[INNERJOIN_WINDOWS_PAD_TOP];
        uint32_t x = q * word[INNERJOIN_WINDOWS_STRIDE_WIDTH] - word[INNERJOIN_WINDOWS_PAD_LEFT];
        for (uint32_t s = 0; s < word[INNERJOIN_WINDOWS_KERNEL_WIDTH]; s++, x++) {
          const int is_inside = y < height && x < width;
          const uint8_t *from = is_inside ? codes + (y * width + x) * channels : codes;
          for (uint32_t c = 0; c < channels; c++) *to++ = is_inside ? from[c] : 0;
        }
      }
}

void innerjoin_set_input(struct innerjoin_chip *chip, const void *codes) {
  const uint8_t *from = codes;
  volatile uint8_t *input = chip->memory + chip->header[INNERJOIN_HEADER_INPUT_ADDRESS];
  volatile const uint8_t *record = chip->memory + chip->header[INNERJOIN_HEADER_WINDOWS_ADDRESS];
  for (uint32_t at = 0; at < chip->header[INNERJOIN_HEADER_INPUT_BYTES]; at++) input[at] = from[at];
  for (uint32_t left = chip->header[INNERJOIN_HEADER_WINDOWS]; left != 0; left--) {
    form_windows(chip, from, record);
    record += 4 * INNERJOIN_WINDOWS_WORDS;
  }
}

enum innerjoin_result innerjoin_start(struct innerjoin_chip *chip, int interrupt) {
  if (chip->header[INNERJOIN_HEADER_MAGIC] != INNERJOIN_IMAGE_MAGIC) return INNERJOIN_BAD_IMAGE;
  if (innerjoin_register(chip, INNERJOIN_STATUS) & INNERJOIN_STATUS_RUNNING) return INNERJOIN_BUSY;
  set_register(chip, INNERJOIN_LIST_ADDRESS, chip->header[INNERJOIN_HEADER_LIST_ADDRESS] + chip->bus_address);
  set_register(chip, INNERJOIN_LIST_ENTRIES, chip->header[INNERJOIN_HEADER_ENTRIES]);
  set_register(chip, INNERJOIN_INTERRUPT_ENABLE, interrupt != 0);
  set_register(chip, INNERJOIN_CONTROL, INNERJOIN_CONTROL_START);
  return INNERJOIN_OK;
}

enum innerjoin_result innerjoin_poll(const struct innerjoin_chip *chip) {
  const uint32_t status = innerjoin_register(chip, INNERJOIN_STATUS);
  if (!(status & INNERJOIN_STATUS_DONE)) return INNERJOIN_RUNNING;
  return innerjoin_code(chip) == INNERJOIN_CODE_NONE ? INNERJOIN_OK : INNERJOIN_FAILED;
}

enum innerjoin_result innerjoin_wait(const struct innerjoin_chip *chip, uint32_t polls) {
  enum innerjoin_result result;
  do result = innerjoin_poll(chip);
  while (result == INNERJOIN_RUNNING && (polls == 0 || --polls != 0));
  return result;
}

void innerjoin_acknowledge(struct innerjoin_chip *chip) {
  set_register(chip, INNERJOIN_CONTROL, INNERJOIN_CONTROL_CLEAR);
}

void innerjoin_stop(struct innerjoin_chip *chip) {
  set_register(chip, INNERJOIN_CONTROL, INNERJOIN_CONTROL_STOP);
}

uint32_t innerjoin_code(const struct innerjoin_chip *chip) {
  return innerjoin_register(chip, INNERJOIN_STATUS) >> INNERJOIN_STATUS_CODE & 0xff;
}

uint32_t innerjoin_error_entry(const struct innerjoin_chip *chip) {
  return innerjoin_register(chip, INNERJOIN_ERROR_ENTRY);
}

uint32_t innerjoin_output_bytes(const struct innerjoin_chip *chip) {
  return chip->header[INNERJOIN_HEADER_OUTPUT_BYTES];
}

const volatile uint8_t *innerjoin_output(const struct innerjoin_chip *chip) {
  return chip->memory + chip->header[INNERJOIN_HEADER_OUTPUT_ADDRESS];
}

int innerjoin_output_code(const struct innerjoin_chip *chip, uint32_t at) {
  const int code = innerjoin_output(chip)[at];
  return chip->header[INNERJOIN_HEADER_OUTPUT_SIGNED] && code > 127 ? code - 256 : code;
}

uint32_t innerjoin_class(const struct innerjoin_chip *chip) {
  uint32_t best = 0;
  for (uint32_t at = 1; at < innerjoin_output_bytes(chip); at++)
    if (innerjoin_output_code(chip, at) > innerjoin_output_code(chip, best)) best = at;
  return best;
}
