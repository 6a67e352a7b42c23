"""The same tests on the virtual device, on emulated boards and on boards over USB."""
