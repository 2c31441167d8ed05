package ui

import "fmt"

// Print writes lines of the caller's where people look, between those of the steps.
func (u *UI) Print(text string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.clear()
	fmt.Fprint(u.options.Out, text)
}
