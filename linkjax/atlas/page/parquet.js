// A table as a Parquet file: one row group, a page a column, plain and uncompressed, no value missing. Numbers that are
// none are NaN. The footer is Thrift's compact protocol: https://parquet.apache.org/docs/file-format/
"use strict";
(() => {
  const TYPES = { bool: 0, int: 1, float: 4, text: 6 }, UTF8 = 0, PLAIN = 0, RLE = 3, REQUIRED = 0, UNCOMPRESSED = 0, DATA_PAGE = 0;
  const I32 = 5, I64 = 6, BINARY = 8, LIST = 9, STRUCT = 12; // Thrift's
  const utf8 = new TextEncoder();

  const varint = (out, value) => {
    for (; value > 127; value = Math.floor(value / 128)) out.push((value % 128) | 128);
    out.push(value);
  };
  const write = (out, type, value) => {
    if (type === I32 || type === I64) varint(out, 2 * value); // zigzag of what is never negative
    else if (type === BINARY) {
      const bytes = utf8.encode(value);
      varint(out, bytes.length);
      for (const byte of bytes) out.push(byte);
    } else if (type === LIST) {
      const [of, items] = value;
      if (items.length < 15) out.push((items.length << 4) | of);
      else {
        out.push(0xf0 | of);
        varint(out, items.length);
      }
      items.forEach((item) => write(out, of, item));
    } else {
      let before = 0;
      for (const [field, kind, content] of value) { // fields ascend, by less than 16
        out.push(((field - before) << 4) | kind);
        write(out, kind, content);
        before = field;
      }
      out.push(0);
    }
    return out;
  };
  const struct = (...fields) => Uint8Array.from(write([], STRUCT, fields));

  const plain = {
    bool: (values) => {
      const bytes = new Uint8Array(Math.ceil(values.length / 8));
      values.forEach((value, k) => { if (value) bytes[k >> 3] |= 1 << (k & 7); });
      return bytes;
    },
    // little-endian whatever the machine
    int: (values) => numbers(values, "setInt32"),
    float: (values) => numbers(values, "setFloat32"),
    text: (values) => {
      const all = values.map((value) => utf8.encode(value)), bytes = new Uint8Array(all.reduce((sum, each) => sum + 4 + each.length, 0));
      const view = new DataView(bytes.buffer);
      let at = 0;
      for (const each of all) {
        view.setUint32(at, each.length, true);
        bytes.set(each, at + 4);
        at += 4 + each.length;
      }
      return bytes;
    },
  };
  const numbers = (values, set) => {
    const view = new DataView(new ArrayBuffer(4 * values.length));
    values.forEach((value, k) => view[set](4 * k, value, true));
    return new Uint8Array(view.buffer);
  };

  /** The file, in pieces for a Blob. columns: [{name, kind: bool, int, float or text, values: array}], of equal length. */
  Atlas.parquet = (columns) => {
    const count = columns[0].values.length, pieces = [utf8.encode("PAR1")], chunks = [];
    let at = 4, all = 0;
    for (const { name, kind, values } of columns) {
      const data = plain[kind](values), page = [[1, I32, count], [2, I32, PLAIN], [3, I32, RLE], [4, I32, RLE]];
      const head = struct([1, I32, DATA_PAGE], [2, I32, data.length], [3, I32, data.length], [5, STRUCT, page]), size = head.length + data.length;
      chunks.push([[2, I64, at], [3, STRUCT, [
        [1, I32, TYPES[kind]], [2, LIST, [I32, [PLAIN]]], [3, LIST, [BINARY, [name]]], [4, I32, UNCOMPRESSED], [5, I64, count], [6, I64, size], [7, I64, size], [9, I64, at],
      ]]]);
      pieces.push(head, data);
      at += size;
      all += size;
    }
    const schema = columns.map(({ name, kind }) => [[1, I32, TYPES[kind]], [3, I32, REQUIRED], [4, BINARY, name], ...(kind === "text" ? [[6, I32, UTF8]] : [])]);
    const group = [[1, LIST, [STRUCT, chunks]], [2, I64, all], [3, I64, count]];
    const footer = struct([1, I32, 1], [2, LIST, [STRUCT, [[[4, BINARY, "units"], [5, I32, columns.length]], ...schema]]], [3, I64, count],
      [4, LIST, [STRUCT, count ? [group] : []]], [6, BINARY, "linkjax atlas"]);
    const length = new DataView(new ArrayBuffer(4));
    length.setUint32(0, footer.length, true);
    return [...pieces, footer, new Uint8Array(length.buffer), utf8.encode("PAR1")];
  };
})();
