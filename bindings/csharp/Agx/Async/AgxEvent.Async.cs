using System;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;

namespace Agx
{
    public sealed partial class AgxEvent
    {
        /// <summary>The body's bytes, which are UTF-8; nothing is copied.</summary>
        public ReadOnlyMemory<byte> BodyUtf8 => bytes.AsMemory(body, end - body);

        /// <summary>The body, parsed; dispose of it.</summary>
        /// <exception cref="JsonException">Another program wrote what is not JSON.</exception>
        public JsonDocument ParseBody() => JsonDocument.Parse(BodyUtf8, Deep);

        /// <summary>The body, parsed, for as long as you like.</summary>
        /// <exception cref="JsonException">Another program wrote what is not JSON.</exception>
        public JsonElement GetBody()
        {
            using JsonDocument document = ParseBody();
            return document.RootElement.Clone();
        }

        /// <summary>The body as a T.</summary>
        public T? GetBody<T>(JsonSerializerOptions? options = null) => JsonSerializer.Deserialize<T>(BodyUtf8.Span, options);

        /// <summary>The body as a T, without reflection.</summary>
        public T? GetBody<T>(JsonTypeInfo<T> type) => JsonSerializer.Deserialize(BodyUtf8.Span, type);

        // As deep as libagx lets a body be.
        static readonly JsonDocumentOptions Deep = new() { MaxDepth = 512 };
    }
}
