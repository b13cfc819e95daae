//! Where a scenario's symbolic addresses are on the board.

use its_board::layout;
use its_scenario::{Area, Place};

const fn area(area: Area) -> layout::Area {
    match area {
        Area::QueueCopy => layout::QUEUE_COPY,
        Area::DeviceTableCopy => layout::DEVICE_TABLE_COPY,
        Area::Itt => layout::ITT,
        Area::Level2 => layout::LEVEL2,
        Area::Host => layout::HOST,
        Area::High => layout::HIGH,
        Area::Descriptor => layout::DESCRIPTOR,
        Area::LiveList => layout::LIVE_LIST,
        Area::Private => layout::PRIVATE,
        Area::Queue => layout::QUEUE,
        Area::DeviceTable => layout::DEVICE_TABLE,
        Area::CollectionTable => layout::COLLECTION_TABLE,
        Area::Configuration => layout::CONFIGURATION,
        Area::Pending => layout::PENDING,
        Area::El2 => layout::EL2,
        Area::Hole => layout::HOLE,
        Area::Queue1 => layout::QUEUE1,
        Area::DeviceTable1 => layout::DEVICE_TABLE1,
        Area::CollectionTable1 => layout::COLLECTION_TABLE1,
        Area::QueueCopy1 => layout::QUEUE_COPY1,
        Area::DeviceTableCopy1 => layout::DEVICE_TABLE_COPY1,
        Area::CollectionTableCopy => layout::COLLECTION_TABLE_COPY,
        Area::CollectionTableCopy1 => layout::COLLECTION_TABLE_COPY1,
        Area::Descriptor1 => layout::DESCRIPTOR1,
        Area::LiveList1 => layout::LIVE_LIST1,
        Area::Private1 => layout::PRIVATE1,
    }
}

/// The physical address of a place.
pub(crate) fn address(place: Place) -> u64 {
    match place {
        Place::In { area: of, page, offset } => area(of).page(page.into()) + u64::from(offset),
        Place::Absolute(address) => address,
    }
}

/// The area and page of a physical address, for people.
pub(crate) fn name(address: u64) -> Option<String> {
    Area::ALL.into_iter().find_map(|of| {
        let run = area(of).run();
        let page = address >> 12;
        run.contains(page).then(|| {
            let offset = address & 0xfff;
            format!("{}[{}]+{offset:#x}", of.name(), page - run.first)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn board_and_scenario_agree_on_the_areas() {
        for of in Area::ALL {
            assert_eq!(u64::from(of.pages()), area(of).pages, "{of:?}");
        }
        assert_eq!(its_scenario::CPUS, layout::CPUS);
    }
}
