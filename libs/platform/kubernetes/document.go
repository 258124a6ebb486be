package kubernetes

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var configMapResource = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}

const (
	// documentKey is the key of the ConfigMap that holds the document.
	documentKey = "document.json"
	// compressedKey is the key of one that is larger than plainBytes: a ConfigMap takes 1 MiB. In place of the plain one is then a text
	// that is no document, so that a release that does not look further finds it broken, and not empty.
	compressedKey = "document.json.gz"
	compressed    = "see " + compressedKey
	plainBytes    = 512 << 10
	// takenAnnotation is another one each time the document is taken over: a ConfigMap that is written as it was keeps its version.
	takenAnnotation = "foreshadow.dev/taken"
	// takeTries is how often it is tried while the one that has it still writes.
	takeTries = 5
)

// ErrOutdated says that somebody else has written the document since it was read.
var ErrOutdated = errors.New("the document was written by someone else")

// Document is one small document in a ConfigMap, for what the leader of several processes must not forget. It is not safe
// for concurrent use. Only who loaded it last can write it: a process that led before finds it outdated.
type Document struct {
	client          *Client
	namespace, name string
	version         string // empty until it is there
	taken           string // the annotation, when it was taken over by this one
	// unsure is what was written when no answer came: it may be there or not.
	unsure []byte
}

// NewDocument names a document; it does no I/O.
func NewDocument(client *Client, namespace, name string) *Document {
	return &Document{client: client, namespace: namespace, name: name}
}

// String names the document.
func (d *Document) String() string { return "ConfigMap " + d.namespace + "/" + d.name }

// Load takes it over and returns it; nil when there is none yet.
func (d *Document) Load() ([]byte, error) {
	d.taken = rand.Text()
	for try := 1; ; try++ {
		data, _, err := d.read()
		if err != nil || d.version == "" {
			return data, err
		}
		if err = d.write(data); err == nil || !errors.Is(err, ErrOutdated) || try == takeTries {
			return data, err
		}
	}
}

// read returns it as it is and by whom it was taken over, and goes on from that.
func (d *Document) read() (data []byte, taken string, err error) {
	ctx, cancel := bounded(context.Background())
	defer cancel()
	o, err := d.client.dynamic.Resource(configMapResource).Namespace(d.namespace).Get(ctx, d.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("read %s: %w", d, err)
	}
	d.version = o.GetResourceVersion()
	text, found, _ := unstructured.NestedString(o.Object, "data", documentKey)
	switch {
	case text == compressed:
		packed, _, _ := unstructured.NestedString(o.Object, "binaryData", compressedKey)
		if data, err = unpack(packed); err != nil {
			return nil, "", fmt.Errorf("read %s: %w", d, err)
		}
	case found:
		data = []byte(text)
	}
	return data, o.GetAnnotations()[takenAnnotation], nil
}

// pack compresses a document for a ConfigMap.
func pack(data []byte) (string, error) {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(data)
	err = errors.Join(err, w.Close())
	return base64.StdEncoding.EncodeToString(out.Bytes()), err
}

func unpack(packed string) ([]byte, error) {
	r, err := gzip.NewReader(base64.NewDecoder(base64.StdEncoding, strings.NewReader(packed)))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// Save replaces it.
func (d *Document) Save(data []byte) error {
	if d.unsure != nil {
		if err := d.findOut(); err != nil {
			return err
		}
	}
	err := d.write(data)
	if err != nil && !errors.Is(err, ErrOutdated) {
		d.unsure = data
	}
	return err
}

// findOut reads whether a write that was not answered has been made.
func (d *Document) findOut() error {
	before := d.version
	data, taken, err := d.read()
	if err != nil {
		return err
	}
	if d.version != before && (taken != d.taken || string(data) != string(d.unsure)) {
		d.version = before
		return fmt.Errorf("write %s: %w", d, ErrOutdated)
	}
	d.unsure = nil
	return nil
}

func (d *Document) write(data []byte) error {
	ctx, cancel := bounded(context.Background())
	defer cancel()
	content, binary := map[string]any{}, map[string]any{}
	switch {
	case len(data) > plainBytes:
		packed, err := pack(data)
		if err != nil {
			return fmt.Errorf("compress %s: %w", d, err)
		}
		content[documentKey], binary[compressedKey] = compressed, packed
	case data != nil:
		content[documentKey] = string(data)
	}
	o := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "data": content, "binaryData": binary,
		"metadata": map[string]any{
			"name": d.name, "namespace": d.namespace, "annotations": map[string]any{takenAnnotation: d.taken},
		},
	}}
	maps := d.client.dynamic.Resource(configMapResource).Namespace(d.namespace)
	var err error
	if d.version == "" {
		o, err = maps.Create(ctx, o, metav1.CreateOptions{FieldManager: fieldManager})
	} else {
		o.SetResourceVersion(d.version)
		o, err = maps.Update(ctx, o, metav1.UpdateOptions{FieldManager: fieldManager})
	}
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("write %s: %w: %w", d, ErrOutdated, err)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", d, err)
	}
	d.version = o.GetResourceVersion()
	return nil
}
