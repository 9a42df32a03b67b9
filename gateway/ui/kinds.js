// What a file is by its name: a picture beside it, and how it can be shown.

const ENDINGS = {
  image: "png jpg jpeg gif webp avif bmp ico svg",
  audio: "mp3 m4a ogg oga opus flac wav aac",
  video: "mp4 m4v webm ogv mov mkv",
  pdf: "pdf",
  page: "html htm xhtml",
  archive: "zip tar gz tgz xz bz2 zst 7z rar",
  text: "txt md rst log csv tsv json toml yaml yml xml ini conf cfg rs py js ts c h cc cpp hpp go java rb pl sh bash css sql tex diff patch lock",
};
const BY_ENDING = new Map(Object.entries(ENDINGS).flatMap(([kind, names]) => names.split(" ").map((name) => [name, kind])));

/** image, audio, video, pdf, page, archive, text or null. */
export function kindOf(name) {
  const ending = name.includes(".") ? name.split(".").pop().toLowerCase() : "";
  return BY_ENDING.get(ending) ?? null;
}

/** The name of the picture for an entry. */
export function iconOf(entry) {
  if (entry.kind === "dir") return "folder";
  if (entry.kind === "unknown") return "unknown";
  const kind = kindOf(entry.name);
  if (kind === "page") return "text";
  return kind ?? (entry.kind === "mutable" ? "mutable" : "file");
}

/** One word for an entry, as readers of screens say it. */
export function wordFor(entry) {
  return { dir: "folder", file: "file", mutable: "changeable file", unknown: "of a kind this gateway does not know" }[entry.kind] ?? "entry";
}

const CAPS = [
  [/^DIR2(-MDMF)?:/, "folder", "a folder, with the right to change what is in it"],
  [/^DIR2.*-Verifier:/, "health", "a folder, to check only: it cannot be read with this"],
  [/^DIR2/, "folder", "a folder, to read"],
  [/^SARSEN-REPAIR:/, "health", "something to check and repair: it cannot be read with this"],
  [/-Verifier:/, "health", "a file, to check only: it cannot be read with this"],
  [/^(SSK|MDMF):/, "mutable", "a changeable file, with the right to change it"],
  [/^(SSK|MDMF)-RO:/, "mutable", "a changeable file, to read"],
  [/^(CHK|LIT):/, "file", "a file, to read"],
];

/** What a cap opens, by its first letters alone: {icon, words}. */
export function capInWords(cap) {
  const body = cap.replace(/^(ro\.|imm\.)?URI:/, "");
  const [, icon, words] = CAPS.find(([begins]) => begins.test(body)) ?? [null, "unknown", "something of a kind that this gateway does not know"];
  return { icon, words };
}
