/* Between the start-up code and the port of the mps2-an386. */
#ifndef HK_MPS2_AN386_H
#define HK_MPS2_AN386_H

/* Interrupt handlers. */
void hk_on_systick(void);
void hk_on_uart0_receive(void);

/* Splits the command line that QEMU was given (-semihosting-config arg=…) at its spaces, the program's name first;
 * returns how many arguments there are. No argument can hold a space. */
int hk_read_command_line(char ***argv);

#endif
