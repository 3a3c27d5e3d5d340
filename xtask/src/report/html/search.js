// SPDX-License-Identifier: MIT OR Apache-2.0
// Shows the search field, and hides the cases that do not contain all words in it. The page is complete without this script.
// It is parsed as XML in a test, so it must not contain the characters that start a tag or an entity.
const search = document.getElementById("search");
search.hidden = false;
search.querySelector("input").addEventListener("input", (event) => {
  const words = event.target.value.toLowerCase().split(" ");
  for (const item of document.querySelectorAll("#cases tbody tr, #failures article")) {
    const target = item.closest("[data-target]")?.dataset.target ?? "";
    const text = (target + " " + item.textContent).toLowerCase();
    item.classList.toggle("unmatched", !words.every((word) => text.includes(word)));
  }
  document.body.classList.toggle("searching", event.target.value.trim() !== "");
});
