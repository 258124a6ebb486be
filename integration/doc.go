// Package integration tests the built binary: whole flows over real processes, a real broker and a real PostgreSQL, and what
// happens when parts of them die. FORESHADOW_BINARY names the binary; without it the test builds one.
package integration
