package workload

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// EnvPrefix begins the environment variables that override the configuration file.
const EnvPrefix = "FORESHADOW_"

// UnmarshalYAML fills what the file leaves out with Default.
func (w *Workload) UnmarshalYAML(node *yaml.Node) error {
	type plain Workload
	p := plain(Default())
	if err := node.Decode(&p); err != nil {
		return err
	}
	*w = Workload(p)
	return nil
}

// Load reads a YAML file into the struct that into points to, whose values before the call are the defaults, and then
// applies the environment: FORESHADOW_<SECTION>_<KEY> replaces the scalar (or comma-separated list) section.key. Every key
// the struct does not know is an error that names file, line and key; all of them are reported at once. It returns what the
// file says, for Locate.
func Load(path string, environ []string, into any) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return data, Decode(path, data, environ, into)
}

// Decode is Load for a file already read; name stands for the file in errors.
func Decode(name string, data []byte, environ []string, into any) error {
	doc, err := document(name, data)
	if err != nil {
		return err
	}
	if len(doc.Content) > 0 {
		root := doc.Content[0]
		errs := keyFaults(name, root, reflect.TypeOf(into).Elem(), "")
		// What can be read is read all the same, so that a caller can tell of its faults, too.
		if err := root.Decode(into); err != nil && len(errs) == 0 {
			errs = append(errs, decodeError(name, err))
		}
		if len(errs) > 0 {
			return errors.Join(errs...)
		}
	}
	return applyEnv(reflect.ValueOf(into).Elem(), environ)
}

// document parses the one document of a file. A second one would be left out without a word.
func document(name string, data []byte) (yaml.Node, error) {
	var doc, more yaml.Node
	in := yaml.NewDecoder(bytes.NewReader(data))
	for _, into := range []*yaml.Node{&doc, &more} {
		if err := in.Decode(into); errors.Is(err, io.EOF) {
			return doc, nil
		} else if err != nil {
			return doc, syntaxError(name, data, err)
		}
	}
	return doc, fmt.Errorf("%s:%d: a second document begins: one file is one configuration", name, more.Line)
}

func decodeError(name string, err error) error {
	var typed *yaml.TypeError
	if !errors.As(err, &typed) {
		return fmt.Errorf("%s: %w", name, err)
	}
	errs := make([]error, len(typed.Errors))
	for i, e := range typed.Errors {
		line, text, found := strings.Cut(strings.TrimPrefix(e, "line "), ": ")
		if !found {
			errs[i] = fmt.Errorf("%s: %s", name, e)
			continue
		}
		errs[i] = fmt.Errorf("%s:%s: %s", name, line, text)
	}
	return errors.Join(errs...)
}

// keyFaults walks the document beside the Go type, because the decoder's own check stops at the first custom unmarshaller:
// keys that are unknown or given twice, and values of a wrong type.
func keyFaults(name string, node *yaml.Node, t reflect.Type, path string) []error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if node.Kind == yaml.AliasNode {
		return nil // what it stands for is checked where it is written
	}
	if err := wrongKind(name, node, t, path); err != nil {
		return []error{err}
	}
	var errs []error
	switch {
	case node.Kind == yaml.SequenceNode && t.Kind() == reflect.Slice:
		for i, item := range node.Content {
			errs = append(errs, keyFaults(name, item, t.Elem(), fmt.Sprintf("%s[%d]", path, i))...)
		}
	case node.Kind == yaml.MappingNode && t.Kind() == reflect.Struct:
		fields := yamlFields(t)
		seen := map[string]bool{}
		for i := 0; i+1 < len(node.Content); i += 2 {
			key := node.Content[i]
			full := strings.TrimPrefix(path+"."+key.Value, ".")
			field, known := fields[key.Value]
			switch {
			case key.Tag == "!!merge":
				errs = append(errs, keyFaults(name, node.Content[i+1], t, path)...)
			case seen[key.Value]:
				errs = append(errs, fmt.Errorf("%s:%d: key %q is given twice", name, key.Line, full))
			case !known:
				errs = append(errs, fmt.Errorf("%s:%d: unknown key %q%s", name, key.Line, full, suggest(key.Value, fields)))
			default:
				errs = append(errs, keyFaults(name, node.Content[i+1], field, full)...)
			}
			seen[key.Value] = true
		}
	}
	return errs
}

func yamlFields(t reflect.Type) map[string]reflect.Type {
	fields := map[string]reflect.Type{}
	for i := range t.NumField() {
		if tag := yamlName(t.Field(i)); tag != "" {
			fields[tag] = t.Field(i).Type
		}
	}
	return fields
}

func yamlName(f reflect.StructField) string {
	tag, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	if tag == "-" || !f.IsExported() {
		return ""
	}
	return tag
}

// suggest names the known key nearest to a misspelt one, or all where none is near.
func suggest(key string, fields map[string]reflect.Type) string {
	names := slices.Sorted(maps.Keys(fields))
	if best := nearest(key, names); best != "" {
		return fmt.Sprintf("; did you mean %q?", best)
	}
	return "; there are " + strings.Join(names, ", ")
}

// nearest is the first of the sorted names that a misspelt one is nearest to; empty when none is near.
func nearest(name string, names []string) string {
	best, at := "", 3
	for _, n := range names {
		if d := editDistance(name, n); d < at {
			best, at = n, d
		}
	}
	return best
}

func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		prev := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := prev
			if a[i] != b[j] {
				cost++
			}
			prev, row[j+1] = row[j+1], min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// applyEnv sets scalars and lists of scalars from variables named after the path of their key. A name that is none but near to
// one is taken for it misspelt; others are left alone, for Kubernetes names the services of a namespace so, too.
func applyEnv(v reflect.Value, environ []string) error {
	variables := map[string]reflect.Value{}
	addVariables(variables, v, EnvPrefix)
	names := slices.Sorted(maps.Keys(variables))
	var errs []error
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if field, known := variables[name]; known {
			if err := setScalar(field, value); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", name, err))
			}
		} else if best := nearest(name, names); best != "" {
			errs = append(errs, fmt.Errorf("%s: no key is named so; did you mean %s?", name, best))
		}
	}
	return errors.Join(errs...)
}

func addVariables(variables map[string]reflect.Value, v reflect.Value, prefix string) {
	for i := range v.NumField() {
		name := yamlName(v.Type().Field(i))
		if name == "" {
			continue
		}
		field, variable := v.Field(i), prefix+strings.ToUpper(name)
		if field.Kind() == reflect.Struct {
			addVariables(variables, field, variable+"_")
			continue
		}
		variables[variable] = field
	}
}

func setScalar(field reflect.Value, value string) error {
	if field.Type() == reflect.TypeFor[time.Duration]() {
		d, err := time.ParseDuration(value)
		if err != nil {
			return fmt.Errorf("want a duration such as 15s, got %q", value)
		}
		field.SetInt(int64(d))
		return nil
	}
	switch field.Kind() {
	case reflect.String:
		field.SetString(value)
	case reflect.Bool:
		b, err := strconv.ParseBool(value)
		if err != nil {
			return fmt.Errorf("want true or false, got %q", value)
		}
		field.SetBool(b)
	case reflect.Int, reflect.Int64:
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return fmt.Errorf("want a whole number, got %q", value)
		}
		field.SetInt(n)
	case reflect.Float64:
		f, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return fmt.Errorf("want a number, got %q", value)
		}
		field.SetFloat(f)
	case reflect.Slice:
		if field.Type().Elem().Kind() != reflect.String {
			return errors.New("cannot be set by the environment")
		}
		list := reflect.MakeSlice(field.Type(), 0, 1)
		for part := range strings.SplitSeq(value, ",") {
			list = reflect.Append(list, reflect.ValueOf(strings.TrimSpace(part)).Convert(field.Type().Elem()))
		}
		field.Set(list)
	default:
		return errors.New("cannot be set by the environment")
	}
	return nil
}
