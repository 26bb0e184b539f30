/* Runs the networks that lie in memory, one after the other, and prints what came of them. */
#include "innerjoin_chip.h"
#include "networks.h"

#define UART (*(volatile uint32_t *)0x10000000)
#define CHIP ((volatile void *)0x20000000)
#define MEMORY ((volatile uint8_t *)0x40000000)
#define END_OF_TRANSMISSION 4

struct network {
  const char *name;
  uint32_t address, bytes;
};

struct counter {
  const char *name;
  uint32_t offset;
};

static const struct network networks[] = {NETWORKS};
static const struct counter counters[] = {COUNTERS};

static void print(const char *text) {
  for (; *text; text++) UART = (uint8_t)*text; /* the processor waits while it is busy */
}

static void print_number(uint32_t number) {
  char digits[11], *at = digits + 10;
  *at = 0;
  do *--at = (char)('0' + number % 10), number /= 10;
  while (number);
  print(at);
}

static void print_line(const char *name, uint32_t number) {
  print("  ");
  print(name);
  print(" ");
  print_number(number);
  print("\n");
}

/* Sleep until the chip's interrupt is high. */
static void wait_for_interrupt(void) {
  uint32_t pending;
  __asm__ volatile(".insn r 0x0b, 0, 4, %0, x0, x0" : "=r"(pending)); /* PicoRV32's waitirq */
}

static void run(const struct network *network) {
  struct innerjoin_chip chip;
  enum innerjoin_result result = innerjoin_open(&chip, CHIP, MEMORY + network->address, network->bytes,
                                                network->address);
  if (result == INNERJOIN_OK) result = innerjoin_attach(&chip);
  if (result == INNERJOIN_OK) result = innerjoin_start(&chip, 1);
  if (result == INNERJOIN_OK) {
    wait_for_interrupt();
    result = innerjoin_poll(&chip);
    innerjoin_acknowledge(&chip);
  }
  print(network->name);
  print("\n");
  if (result != INNERJOIN_OK) {
    print_line("result", result);
    print_line("code", innerjoin_code(&chip));
    print_line("error_entry", innerjoin_error_entry(&chip));
    return;
  }
  print_line("class", innerjoin_class(&chip));
  for (unsigned at = 0; at < sizeof counters / sizeof counters[0]; at++)
    print_line(counters[at].name, innerjoin_register(&chip, counters[at].offset));
}

int main(void) {
  for (unsigned at = 0; at < sizeof networks / sizeof networks[0]; at++) run(&networks[at]);
  UART = END_OF_TRANSMISSION;
  return 0;
}
