// Numbers, dates and names as people read them.

const number = new Intl.NumberFormat();
const precise = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });
const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeZone: "UTC" });
const moment = new Intl.DateTimeFormat(undefined, {
  dateStyle: "full", timeStyle: "short", timeZone: "UTC",
});

export const count = (n) => number.format(n);
export const rate = (n) => (n < 10 ? precise.format(n) : number.format(Math.round(n)));

export const faces = (n) => `${count(n)} ${n === 1 ? "face" : "faces"}`;
export const photos = (n) => `${count(n)} ${n === 1 ? "photo" : "photos"}`;

// `taken_at` is what the camera's clock showed, without a zone: it is shown as it is.
function parse(takenAt) {
  const date = takenAt ? new Date(`${takenAt}Z`) : null;
  return date && !Number.isNaN(date.getTime()) ? date : null;
}
export const date = (takenAt) => (parse(takenAt) ? day.format(parse(takenAt)) : "");
export const dateAndTime = (takenAt) => (parse(takenAt) ? moment.format(parse(takenAt)) : "");

export const name = (path) => path.slice(path.lastIndexOf("/") + 1);
export const score = (cosine) => cosine.toFixed(2);

export function left(seconds) {
  if (seconds < 60) return "less than a minute left";
  const minutes = Math.round(seconds / 60);
  if (minutes < 90) return `about ${minutes} min left`;
  return `about ${count(Math.round(minutes / 60))} h left`;
}
