// SHA-256 of a photo (FIPS 180-4): a browser's own is there for pages over HTTPS and of this machine alone.

const primes = [2];
for (let n = 3; primes.length < 64; n += 2) {
  if (primes.every((prime) => n % prime)) {
    primes.push(n);
  }
}
const fraction = (root) => ((root - Math.floor(root)) * 2 ** 32) | 0;
const START = primes.slice(0, 8).map((prime) => fraction(Math.sqrt(prime)));
const CONSTANTS = primes.map((prime) => fraction(Math.cbrt(prime)));

export async function sha256(photo) {
  const bytes = await photo.arrayBuffer();
  if (!crypto.subtle) {
    return digest(new Uint8Array(bytes));
  }
  return hex([...new Uint8Array(await crypto.subtle.digest("SHA-256", bytes))], 2);
}

/** The same without the browser's help. */
export function digest(bytes) {
  const data = new DataView(new ArrayBuffer(64 * Math.ceil((bytes.length + 9) / 64)));
  new Uint8Array(data.buffer).set(bytes);
  data.setUint8(bytes.length, 0x80);
  data.setBigUint64(data.byteLength - 8, 8n * BigInt(bytes.length));
  const words = new Int32Array(64);
  let state = START;
  for (let start = 0; start < data.byteLength; start += 64) {
    state = compressed(state, words, data, start);
  }
  return hex(state.map((word) => word >>> 0), 8);
}

const turned = (word, count) => (word >>> count) | (word << (32 - count));

function compressed(state, words, data, start) {
  for (let i = 0; i < 64; i++) {
    if (i < 16) {
      words[i] = data.getInt32(start + 4 * i);
      continue;
    }
    const [early, late] = [words[i - 15], words[i - 2]];
    const first = turned(early, 7) ^ turned(early, 18) ^ (early >>> 3);
    const second = turned(late, 17) ^ turned(late, 19) ^ (late >>> 10);
    words[i] = words[i - 16] + first + words[i - 7] + second;
  }
  let [a, b, c, d, e, f, g, h] = state;
  for (let i = 0; i < 64; i++) {
    const first = h + (turned(e, 6) ^ turned(e, 11) ^ turned(e, 25)) + ((e & f) ^ (~e & g)) + CONSTANTS[i] + words[i];
    const second = (turned(a, 2) ^ turned(a, 13) ^ turned(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
    [h, g, f, e, d, c, b, a] = [g, f, e, (d + first) | 0, c, b, a, (first + second) | 0];
  }
  return [a, b, c, d, e, f, g, h].map((word, i) => (word + state[i]) | 0);
}

function hex(numbers, digits) {
  return numbers.map((number) => number.toString(16).padStart(digits, "0")).join("");
}
