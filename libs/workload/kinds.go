package workload

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// wrongKind says that the value of a key is not of its type: the decoder's own words name a Go type, and no key. Sections,
// lists and the values in them are left to the walk that called it.
func wrongKind(name string, node *yaml.Node, t reflect.Type, path string) error {
	if node.Tag == "!!null" {
		return nil // a key without a value keeps its default
	}
	switch t.Kind() {
	case reflect.Struct:
		if node.Kind == yaml.MappingNode {
			return nil
		}
	case reflect.Slice:
		if node.Kind == yaml.SequenceNode {
			return nil
		}
	default:
		if into := reflect.New(t); node.Decode(into.Interface()) == nil && !cut(node, into.Elem()) {
			return nil
		}
	}
	if path == "" {
		path = "the file"
	}
	return fmt.Errorf("%s:%d: %s: want %s, got %s", name, node.Line, path, expected(t), found(node))
}

// cut says whether the decoder took a fraction for a whole number, as it does without a word.
func cut(node *yaml.Node, got reflect.Value) bool {
	var written float64
	return got.CanInt() && node.Tag == "!!float" && node.Decode(&written) == nil && written != float64(got.Int())
}

// expected is what a value of the type looks like in the file.
func expected(t reflect.Type) string {
	if t == reflect.TypeFor[time.Duration]() {
		return "a duration such as 200ms, 15s or 1h"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice:
		return "a list such as [a, b]"
	case reflect.Struct, reflect.Map:
		return "keys with values, such as {key: value}"
	default:
		return "a text"
	}
}

// found is what stands there instead. What is long may be a secret on a wrong line, and is cut.
func found(node *yaml.Node) string {
	const most = 40
	switch node.Kind {
	case yaml.MappingNode:
		return "keys with values"
	case yaml.SequenceNode:
		return "a list"
	default:
		if text := []rune(node.Value); len(text) > most {
			return fmt.Sprintf("%q", strings.TrimSpace(string(text[:most]))+"...")
		}
		return fmt.Sprintf("%q", node.Value)
	}
}
