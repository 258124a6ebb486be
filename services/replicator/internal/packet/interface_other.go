//go:build !linux

package packet

import "errors"

func openInterface(Config) (reader, error) {
	return nil, errors.New("live capture is there on Linux only; packet files are read everywhere")
}
