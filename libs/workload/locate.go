package workload

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

var (
	keyPattern  = regexp.MustCompile(`^[a-z][a-z0-9_]*(\[\d+\]|\.[a-z][a-z0-9_]*)*`)
	stepPattern = regexp.MustCompile(`[a-z0-9_]+`)
)

// Locate says of each fault of what Decode read, which begins with its key, where it comes from: the line of the key, or of the
// nearest above it that is written, or the variable of the environment that set it.
func Locate(name string, data []byte, environ []string, faults error) error {
	if faults == nil {
		return nil
	}
	doc, _ := document(name, data)
	var errs []error
	for fault := range strings.SplitSeq(faults.Error(), "\n") {
		key := keyPattern.FindString(fault)
		section, _, _ := strings.Cut(key, "[")
		variable := EnvPrefix + strings.ToUpper(strings.ReplaceAll(section, ".", "_"))
		place := name
		if set := func(e string) bool { return strings.HasPrefix(e, variable+"=") }; slices.ContainsFunc(environ, set) {
			place = variable
		} else if line := lineOf(doc, key); line > 0 {
			place = fmt.Sprintf("%s:%d", name, line)
		}
		errs = append(errs, fmt.Errorf("%s: %s", place, fault))
	}
	return errors.Join(errs...)
}

// lineOf is the line of a key such as a.b[0].c, or of the nearest above it; 0 when there is none.
func lineOf(doc yaml.Node, key string) int {
	line, node := 0, &doc
	if len(doc.Content) > 0 {
		node = doc.Content[0]
	}
	for _, step := range stepPattern.FindAllString(key, -1) {
		at := -1
		switch node.Kind {
		case yaml.MappingNode:
			for i := 0; i+1 < len(node.Content); i += 2 {
				if node.Content[i].Value == step {
					line, at = node.Content[i].Line, i+1
				}
			}
		case yaml.SequenceNode:
			if i, err := strconv.Atoi(step); err == nil && i < len(node.Content) {
				line, at = node.Content[i].Line, i
			}
		}
		if at < 0 {
			break
		}
		if node = node.Content[at]; node.Alias != nil {
			node = node.Alias
		}
	}
	return line
}

// syntaxError names the line that what is no YAML is no YAML any more at: the parser names that at which it began the block.
func syntaxError(name string, data []byte, err error) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if rest, is := strings.CutPrefix(text, "line "); is {
		_, text, _ = strings.Cut(rest, ": ")
	}
	good := data
	for len(good) > 0 {
		good = good[:bytes.LastIndexByte(good[:len(good)-1], '\n')+1]
		if parses(good) {
			break
		}
	}
	if line := data[len(good):]; bytes.HasPrefix(bytes.TrimLeft(line, " "), []byte("\t")) {
		text = "a tab indents it, want spaces"
	}
	return fmt.Errorf("%s:%d: %s", name, 1+bytes.Count(good, []byte("\n")), text)
}

func parses(data []byte) bool {
	in := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var doc yaml.Node
		if err := in.Decode(&doc); err != nil {
			return errors.Is(err, io.EOF)
		}
	}
}
