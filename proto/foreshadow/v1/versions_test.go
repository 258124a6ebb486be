package foreshadowv1_test

import (
	"math"
	"os"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	foreshadowv1 "github.com/foreshadow/foreshadow/proto/foreshadow/v1"
)

// previous are the messages as the previous release knew them; `make previous` records them when one is made.
func previous(t *testing.T) *protoregistry.Files {
	t.Helper()
	data, err := os.ReadFile("../../previous.binpb")
	if err != nil {
		t.Fatal(err)
	}
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(data, &set); err != nil {
		t.Fatal(err)
	}
	files, err := protodesc.NewFiles(&set)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestReleasesBesideEachOther has each message, with every field set, written by one release and read by the other: what the
// previous release writes loses nothing today, and what is written today comes back whole from one who was handed it on by
// the previous release, which does not know all of it.
func TestReleasesBesideEachOther(t *testing.T) {
	t.Parallel()
	messages, newer := 0, 0
	previous(t).RangeFiles(func(f protoreflect.FileDescriptor) bool {
		if f.Package() != "foreshadow.v1" {
			return true
		}
		for i := range f.Messages().Len() {
			old := f.Messages().Get(i)
			today, err := protoregistry.GlobalTypes.FindMessageByName(old.FullName())
			if err != nil {
				t.Errorf("%s is gone", old.FullName())
				continue
			}
			messages++
			written := dynamicpb.NewMessage(old)
			fill(written, 3)
			read := today.New().Interface()
			pass(t, written, read)
			if n := len(read.ProtoReflect().GetUnknown()); n > 0 {
				t.Errorf("%s: today's has lost %d bytes of the previous one", old.FullName(), n)
			}
			back := dynamicpb.NewMessage(old)
			if pass(t, read, back); !proto.Equal(written, back) {
				t.Errorf("%s: %v came back as %v", old.FullName(), written, back)
			}

			sent, handed, received := today.New(), dynamicpb.NewMessage(old), today.New().Interface()
			fill(sent, 3)
			pass(t, sent.Interface(), handed)
			if len(handed.GetUnknown()) > 0 {
				newer++
			}
			if pass(t, handed, received); !proto.Equal(sent.Interface(), received) {
				t.Errorf("%s: %v came back from the previous release as %v", old.FullName(), sent.Interface(), received)
			}
		}
		return true
	})
	if messages < 50 || newer == 0 {
		t.Errorf("compared %d messages, of which %d have grown: nothing was shown", messages, newer)
	}
	t.Logf("%d messages, of which %d have grown since the previous release", messages, newer)
}

// pass hands a message from one side to the other as bytes.
func pass(t *testing.T, from, to proto.Message) {
	t.Helper()
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(from)
	if err == nil {
		err = proto.Unmarshal(data, to)
	}
	if err != nil {
		t.Fatalf("%s: %v", from.ProtoReflect().Descriptor().FullName(), err)
	}
}

// fill sets every field of a message, and of those within it to a depth. Of a oneof the last one stays.
func fill(m protoreflect.Message, depth int) {
	for i := range m.Descriptor().Fields().Len() {
		f := m.Descriptor().Fields().Get(i)
		switch {
		case f.IsMap():
			if f.MapValue().Message() == nil {
				m.Mutable(f).Map().Set(scalar(f.MapKey()).MapKey(), scalar(f.MapValue()))
			}
		case f.Message() != nil && depth == 0:
		case f.IsList() && f.Message() != nil:
			for range 2 {
				e := m.Mutable(f).List().NewElement()
				fill(e.Message(), depth-1)
				m.Mutable(f).List().Append(e)
			}
		case f.IsList():
			m.Mutable(f).List().Append(scalar(f))
		case f.Message() != nil:
			fill(m.Mutable(f).Message(), depth-1)
		default:
			m.Set(f, scalar(f))
		}
	}
}

// scalar is a value of a field that is not the one that is left out.
func scalar(f protoreflect.FieldDescriptor) protoreflect.Value {
	n := uint64(f.Number())
	switch f.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(f.Enum().Values().Get(f.Enum().Values().Len() - 1).Number())
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(string(f.Name()))
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte(f.Name()))
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(float32(n) + 0.5)
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(float64(n) + 0.25)
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(-int32(n))
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(math.MinInt64 + int64(n))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(math.MaxUint32 - uint32(n))
	default:
		return protoreflect.ValueOfUint64(math.MaxUint64 - n)
	}
}

// TestValuesOfTheNextReleaseAreKept: an enumeration may get values that today's services do not know.
func TestValuesOfTheNextReleaseAreKept(t *testing.T) {
	t.Parallel()
	sent := &foreshadowv1.Recommendation{Workload: "shop", Policy: foreshadowv1.Policy(99)}
	got := &foreshadowv1.Recommendation{}
	pass(t, sent, got)
	if got.GetPolicy() != 99 || !strings.Contains(got.GetPolicy().String(), "99") {
		t.Errorf("policy %v", got.GetPolicy())
	}
}
