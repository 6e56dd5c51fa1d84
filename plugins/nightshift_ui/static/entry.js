// What Airflow loads for our place in its navigation: it leaves for the page, which needs no script.
const page = new URL("./", import.meta.url).href;
globalThis["Nightshift"] = () => {
  globalThis.location.replace(page);
  return null;
};
