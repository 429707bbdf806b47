// The map: photos of a place index, candidates, and the answer with its uncertainty, drawn by Leaflet on a canvas.

const L = window.L;
const LEAST_RADIUS = 25;

/** Latitude and longitude for Leaflet; of maps in metres, northing and easting. */
export function point(position) {
  return "latitude" in position ? [position.latitude, position.longitude] : [position.northing, position.easting];
}

export class PlaceMap {
  /** `tiles`: template of addresses of a map's pictures; null for none. `picked`: called with a position clicked on. */
  constructor(element, tiles, selected, picked) {
    this.element = element;
    this.tiles = tiles;
    this.selected = selected;
    this.picked = picked;
    this.name = null;
    this.answer = null;
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#draw());
  }

  /** Shows another place index: its name, kind and bounds, and positions of its photos. */
  show(map, positions) {
    this.leaflet?.remove();
    this.name = map.name;
    this.kind = map.kind;
    this.positions = positions;
    this.pin = null;
    const inDegrees = map.kind === "degrees";
    const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.leaflet = L.map(this.element, {
      crs: inDegrees ? L.CRS.EPSG3857 : L.CRS.Simple,
      minZoom: inDegrees ? 1 : -12,
      maxZoom: inDegrees ? 21 : 7,
      zoomSnap: 0.25,
      renderer: L.canvas({ padding: 0.3, tolerance: 6 }),
      attributionControl: false,
      zoomAnimation: !still,
      fadeAnimation: !still,
    });
    L.control.scale({ imperial: false }).addTo(this.leaflet);
    if (this.tiles && inDegrees) {
      L.tileLayer(this.tiles, { maxZoom: 21, maxNativeZoom: 19 }).addTo(this.leaflet);
    }
    this.leaflet.on("click", (event) => this.picked(this.#position(event.latlng)));
    // A map that has lost its last photo has none.
    const [first, second] = map.bounds ?? [[-1, -1], [1, 1]];
    this.leaflet.fitBounds(inDegrees ? [first, second] : [first.toReversed(), second.toReversed()], { padding: [16, 16] });
    this.#draw();
  }

  /** Draws an answer, and looks at it; null for none. */
  locate(answer) {
    this.answer = answer;
    this.chosen = 0;
    this.#draw();
    if (answer) {
      this.#look();
    }
  }

  /** Shows which candidate is chosen, and moves there if it is out of sight. */
  choose(rank) {
    this.chosen = rank;
    this.#draw();
    const candidate = this.answer.candidates[rank];
    if (candidate.map === this.name) {
      this.leaflet.panInside(point(candidate.position), { padding: [40, 40] });
    }
  }

  /** Puts a pin where the photo was taken as its owner says; null takes it away. */
  mark(position) {
    this.pin = position;
    this.#draw();
  }

  /** The page around it has another size. */
  resized() {
    this.leaflet?.invalidateSize();
  }

  #draw() {
    if (!this.leaflet) {
      return;
    }
    this.drawn?.remove();
    this.drawn = L.layerGroup().addTo(this.leaflet);
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    for (const position of this.positions) {
      const options = { radius: 2, stroke: false, fillColor: colour("track"), fillOpacity: 0.75, interactive: false };
      this.drawn.addLayer(L.circleMarker(position, options));
    }
    if (this.answer) {
      this.#drawEstimate(colour("estimate"), colour("card"));
      this.#drawCandidates(colour("similar"), colour("card"));
    }
    if (this.pin) {
      const options = { radius: 8, color: colour("ink"), weight: 3, fillColor: colour("card"), fillOpacity: 1 };
      this.drawn.addLayer(L.circleMarker(point(this.pin), { ...options, interactive: false }));
    }
  }

  #drawEstimate(colour, paper) {
    const { known, map, position, uncertainty } = this.answer;
    if (!known || !position || map !== this.name) {
      return;
    }
    const where = point(position);
    if (uncertainty) {
      const options = { radius: uncertainty, color: colour, weight: 2, fillOpacity: 0.14, interactive: false };
      this.drawn.addLayer(L.circle(where, options));
    }
    const options = { radius: 9, color: colour, weight: 4, fillColor: paper, fillOpacity: 1, interactive: false };
    this.drawn.addLayer(L.circleMarker(where, options));
  }

  #drawCandidates(colour, paper) {
    const here = this.answer.candidates.map((candidate, rank) => [candidate, rank]).filter(([one]) => one.map === this.name);
    // The chosen one last, and so on top.
    here.sort(([, a], [, b]) => (a === this.chosen) - (b === this.chosen) || b - a);
    for (const [candidate, rank] of here) {
      const chosen = rank === this.chosen;
      const marker = L.circleMarker(point(candidate.position), {
        radius: chosen ? 8 : 5,
        color: paper,
        weight: chosen ? 2.5 : 1.5,
        fillColor: colour,
        fillOpacity: 1,
        bubblingMouseEvents: false,
      });
      const label = document.createElement("span");
      label.textContent = `${rank + 1}. ${candidate.name}`;
      marker.bindTooltip(label, { direction: "top" });
      marker.on("click", () => this.selected(rank));
      this.drawn.addLayer(marker);
    }
  }

  #look() {
    const { known, map, position, uncertainty, candidates } = this.answer;
    let bounds = L.latLngBounds(candidates.filter((one) => one.map === this.name).map((one) => point(one.position)));
    if (known && position && map === this.name) {
      const metres = 3 * Math.max(uncertainty ?? 0, LEAST_RADIUS);
      bounds = this.#around(point(position), metres);
      const [best] = candidates;
      if (best && best.map === this.name) {
        bounds.extend(point(best.position));
      }
    }
    if (bounds.isValid()) {
      this.leaflet.fitBounds(bounds, { padding: [30, 30], maxZoom: this.kind === "degrees" ? 18 : 3 });
    }
  }

  #around([first, second], metres) {
    if (this.kind === "degrees") {
      return L.latLng(first, second).toBounds(2 * metres);
    }
    return L.latLngBounds([first - metres, second - metres], [first + metres, second + metres]);
  }

  #position({ lat, lng }) {
    return this.kind === "degrees" ? { latitude: lat, longitude: lng } : { easting: lng, northing: lat };
  }
}
